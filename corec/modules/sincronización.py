"""The same module as `sincronizacion`, spelled as the original documentation spells it."""
import sys

import corec.modules.sincronizacion

sys.modules[__name__] = corec.modules.sincronizacion
