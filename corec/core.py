"""The plugin API: what a plugin imports from CoreC besides blocks and entities.

    from corec.core import logging, asyncio, random, serializar_mensaje, deserializar_mensaje, enviar_mensaje_redis

Nothing of `corec._core` is for plugins: it holds the compiled kernels, which do no I/O.
"""
import asyncio
import logging
import random
from typing import Any

from corec.plugin_api.database import abrir_base
from corec.plugin_api.messages import deserializar_mensaje, enviar_mensaje_redis, serializar_mensaje

__all__ = ["abrir_base", "asyncio", "deserializar_mensaje", "enviar_mensaje_redis", "logging", "random", "serializar_mensaje"]


def __getattr__(name: str) -> Any:
    """`celery_app`, made on first use: importing this module must not import Celery."""
    if name != "celery_app":
        raise AttributeError(f"module 'corec.core' has no attribute {name!r}")
    from corec.workers.celery_app import app_of, configuration_if_any

    globals()[name] = app = app_of(configuration_if_any())
    return app
