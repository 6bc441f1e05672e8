"""EchoQ's computing half: loops, sectors, denoisers, metrics. Nothing here knows a screen."""

__version__ = "0.1.0"
