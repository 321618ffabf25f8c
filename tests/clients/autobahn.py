"""The cases of the Autobahn test suite, driven by kosoku: server's port, directory, case patterns."""

import json
import pathlib
import subprocess
import sys

port, directory, *cases = sys.argv[1:]
kosoku = pathlib.Path(sys.executable).with_name("kosoku")
patterns = [part for case in cases for part in ("-i", case)]
command = [kosoku, *patterns, "-p", "4", "-o", directory, f"127.0.0.1:{port}"]
subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
index = json.loads((pathlib.Path(directory) / "index.json").read_text())
found = {case: told for agent in index.values() for case, told in agent.items()}
bad = {
    case: (told["behavior"], told["behaviorClose"])
    for case, told in found.items()
    if told["behavior"] not in ("OK", "INFORMATIONAL")
    or told["behaviorClose"] not in ("OK", "INFORMATIONAL")
}
print(len(found))
sys.exit(f"{bad}" if bad else 0)
