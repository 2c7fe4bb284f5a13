"""The same module as `sincronizacion`, spelled as the seed does."""
import sys

import corec.modules.sincronizacion

sys.modules[__name__] = corec.modules.sincronizacion
