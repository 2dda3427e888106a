"""Licences of the crates that the `kinglet` command is made of, with their texts.

    licences.py ROOT TARGET
"""

import json
import pathlib
import subprocess
import sys

NAMES = ("LICENSE", "LICENCE", "COPYING", "NOTICE", "UNLICENSE")


def linked(metadata):
    """Packages that end up in the command: normal dependencies, no build scripts' and no tests'."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    packages = {package["id"]: package for package in metadata["packages"]}
    left = [p["id"] for p in packages.values() if p["name"] == "kinglet-export"]
    found = set()
    while left:
        package = left.pop()
        if package in found:
            continue
        found.add(package)
        for dependency in nodes[package]["deps"]:
            if any(kind["kind"] is None for kind in dependency["dep_kinds"]):
                left.append(dependency["pkg"])
    return sorted((packages[i] for i in found), key=lambda p: (p["name"], p["version"]))


def main(root, target):
    metadata = json.loads(
        subprocess.run(
            ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", target],
            cwd=root, check=True, stdout=subprocess.PIPE,
        ).stdout
    )
    packages = [p for p in linked(metadata) if p["source"] is not None]
    unknown = [p["name"] for p in packages if not p["license"] and not p["license_file"]]
    if unknown:
        sys.exit(f"no licence is known of {', '.join(unknown)}")
    sys.stdout.reconfigure(encoding="utf-8", newline="\n")
    print("The command `kinglet` contains these crates:\n")
    texts = {}
    for package in packages:
        where = package["repository"] or f"https://crates.io/crates/{package['name']}"
        print(f"{package['name']} {package['version']}: {package['license']} ({where})")
        folder = pathlib.Path(package["manifest_path"]).parent
        for path in sorted(folder.iterdir()):
            if path.is_file() and path.name.upper().startswith(NAMES):
                text = path.read_text(encoding="utf-8", errors="replace").strip()
                texts.setdefault(text, []).append(f"{package['name']} {package['version']}")
    for text, names in sorted(texts.items(), key=lambda item: item[1]):
        print(f"\n{'=' * 78}\n{', '.join(names)}\n{'=' * 78}\n\n{text}")


if __name__ == "__main__":
    main(*sys.argv[1:])
