"""Make torchaudio importable beside a CPU build of torch.

The index has torchaudio as a CUDA build only; beside a CPU torch its extension cannot find libc10_cuda.so.
torchaudio treats an absent extension as supported, and what spkdistill uses (compliance.kaldi, resample) is
pure Python: the extension is removed, and only where the import fails.
"""

import importlib.util
import subprocess
import sys
from pathlib import Path


def imports() -> bool:
    """Whether a fresh interpreter can import torchaudio."""
    return (
        subprocess.run(
            [sys.executable, "-c", "import torchaudio"], capture_output=True, check=False
        ).returncode
        == 0
    )


def main() -> None:
    """Remove the extension where it stands in the way, and say so."""
    if imports():
        return
    folder = Path(importlib.util.find_spec("torchaudio").origin).parent / "lib"
    extensions = sorted(folder.glob("*.so"))
    for extension in extensions:
        extension.unlink()
    removed = ", ".join(extension.name for extension in extensions)
    print(
        f"torchaudio is a CUDA build and torch is not: removed {removed}, which Kaldi's features do not need"
    )
    if not imports():
        sys.exit("torchaudio still does not import; try: python -c 'import torchaudio'")


if __name__ == "__main__":
    main()
