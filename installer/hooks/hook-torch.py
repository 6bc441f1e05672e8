"""PyInstaller: what of torch goes along. Takes the place of the common hook, which collects every module there is.

Inference needs what `import torch` reaches, found by PyInstaller itself. Sources go along since torch reads some.
"""

from PyInstaller.utils.hooks import PY_DYLIB_PATTERNS, collect_data_files, collect_dynamic_libs

module_collection_mode = "pyz+py"
datas = collect_data_files("torch", includes=["bin/torch_shm_manager"])  # torch looks for it when it is imported
binaries = collect_dynamic_libs("torch", search_patterns=[*PY_DYLIB_PATTERNS, "*.so.*"])
bindepend_symlink_suppression = ["**/torch/lib/*.so*"]  # links elsewhere confuse torch about where it lies
