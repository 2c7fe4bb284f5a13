"""A configuration that sets every key there is, and helpers to spoil one of them."""

import copy
import json
from typing import Any

from tests.support.paths import ROOT

CONFIGS = ROOT / "configs"

FULL: dict[str, Any] = {
    "$schema": "./corec_config.schema.json",
    "instance_id": "corec7",
    "db_config": {
        "dbname": "corec_db",
        "user": "postgres",
        "password": "s3cret-db",
        "password_file": None,
        "host": "localhost",
        "port": "5432",
        "sslmode": "prefer",
        "sslrootcert": "ca.pem",
        "replica": {"host": "localhost", "port": 5433, "user": None, "password": "s3cret-copy", "password_file": None},
        "particion_canales": [1, 2],
    },
    "redis_config": {
        "host": "localhost",
        "port": 6379,
        "username": "",
        "password": "s3cret-redis",
        "password_file": None,
        "unix_socket": None,
        "tls": True,
        "ca": "ca.pem",
        "cert": "node.pem",
        "key": "node.key",
        "max_mb": 32,
    },
    "celery_config": {"broker": "redis://localhost:6379/1", "worker_concurrency": 3},
    "flota": "planta",
    "bloques": [
        {
            "id": "horno",
            "canal": 1,
            "entidades": 2500,
            "max_size_mb": 2,
            "entidades_por_bloque": 1500,
            "autoreparacion": {"max_errores": 0.1, "min_fitness": 0.3},
            "plugin": "procesador",
            "ids": 5000,
            "silencio_max": 30,
            "registrado": False,
            "nombres": "h",
            "retirado": False,
            "ventana": 5.0,
            "limites": {"bajo": -10.0, "alto": 90.5},
            "intervalo": 2.0,
            "filtro": {
                "umbral": 0.1,
                "desviacion": 3.0,
                "carga": 0.5,
                "errores": 0.25,
                "latido": 120,
                "memoria": 0.001,
            },
            "funcion": {"nombre": "sine", "a": 1.0, "b": 2.0, "periodo": 30.0},
        },
        {
            "id": "silo",
            "canal": 2,
            "entidades": 10,
            "ids": {
                "device": [7, 9],
                "name": ["uno", "dos"],
                "unit": ["C", ""],
                "low": [1.5, None],
                "high": [None, 3.0],
            },
        },
    ],
    "modules": ["registro", "sincronización"],
    "sincronizacion": {"ventanas": 5, "carga": 0.5, "fusiones_por_minuto": 1},
    "auditoria": {"ventanas": 160, "umbral": 4.0},
    "ejecucion": {"modo": "celery"},
    "rol": "sensor",
    "max_ram_mb": 512,
    "max_disk_mb": 256,
    "max_flash_mb_per_day": 4096,
    "retencion_dias": 7,
    "max_store_mb": 100,
    "max_skew": 60,
    "max_adelanto": 5,
    "retraso_max": 1.5,
    "hibernar_tras": 300,
    "mensajes_mb": 32,
    "conservar_diario_mb": 16,
    "fragmentos": 4,
    "fuentes": [
        {"tipo": "host", "bloque": "horno", "intervalo": 0.5},
        {"tipo": "simulada", "lecturas_por_segundo": 1000, "fallos": 0.5, "semilla": 9},
    ],
}

Key = tuple[str | int, ...]


def text_of(tree: Any) -> str:
    """The tree as a file would hold it, each key on a line of its own."""
    return json.dumps(tree, indent=4, ensure_ascii=False)


def every_key(tree: Any = FULL, path: Key = ()) -> list[Key]:
    """The path of each key and list item of *tree*."""
    items = list(tree.items() if isinstance(tree, dict) else enumerate(tree))
    found = []
    for key, value in items:
        found.append((*path, key))
        if isinstance(value, dict | list):
            found += every_key(value, (*path, key))
    return found


def get(tree: Any, path: Key) -> Any:
    """What stands at *path* of *tree*."""
    for key in path:
        tree = tree[key]
    return tree


def with_value(path: Key, value: Any, tree: Any = FULL) -> Any:
    """A copy of *tree* with *value* at *path*."""
    changed = copy.deepcopy(tree)
    get(changed, path[:-1])[path[-1]] = value
    return changed


def with_key(path: Key, name: str) -> Any:
    """A copy of `FULL` whose key at *path* is called *name* instead."""
    changed = copy.deepcopy(FULL)
    parent = get(changed, path[:-1])
    renamed = {name if key == path[-1] else key: value for key, value in parent.items()}
    parent.clear()
    parent.update(renamed)
    return changed


def rendered(path: Key) -> str:
    """The path as errors write it."""
    return "$" + "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path)


def block(**keys: Any) -> dict[str, Any]:
    """The smallest entry, with *keys* changed or added."""
    return {"id": "a", "canal": 1, "entidades": 1000} | keys


def node(*blocks: dict[str, Any], **keys: Any) -> dict[str, Any]:
    """A configuration of these entries, or of one smallest one."""
    return {"bloques": list(blocks) or [block()]} | keys
