"""For a Celery worker (`-I tests.support.faults.hanging`): SIGUSR2 makes its main thread, which folds, stand still until SIGUSR1.

Its other threads go on: what renews the lease, what reads ahead.
"""
import signal

signal.signal(signal.SIGUSR2, lambda *_: signal.sigwait([signal.SIGUSR1]))
