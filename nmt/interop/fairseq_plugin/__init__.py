"""For fairseq: makes it run on current Python, and an architecture that starts from an MLLM.

``python nmt/interop/fairseq_plugin train DATA ...`` runs fairseq's own commands, and the folder is
what ``--user-dir`` wants. It must work where bitext is not installed, so nothing here imports
bitext, and fairseq is needed by nothing else.
"""

import importlib
import sys

# fairseq imports this package for what it registers; anybody else may not have fairseq
if "fairseq" in sys.modules:
    importlib.import_module(f"{__name__}.architecture")
