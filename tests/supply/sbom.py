"""Holds a bill of materials against the graph of crates: valid CycloneDX, nothing missing, the same licences."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator


def graph(target: str) -> dict[tuple[str, str], str]:
    """Every crate that the binary is built from, by name and version, with its licence."""
    command = ["cargo", "tree", "--locked", "--edges", "normal,build", "--target", target, "--prefix", "none"]
    lines = subprocess.run([*command, "--format", "{p}|{l}"], check=True, capture_output=True, text=True).stdout
    crates = {}
    for line in lines.splitlines():
        package, licence = line.removesuffix(" (*)").split("|")
        name, version = package.split()[:2]
        crates[name, version.removeprefix("v")] = licence
    return crates


def hashes() -> dict[tuple[str, str], str]:
    """The hash of every crate that comes from a registry, as the lock file has it."""
    packages = tomllib.loads(Path("Cargo.lock").read_text())["package"]
    return {(package["name"], package["version"]): package.get("checksum", "") for package in packages}


def licence(component: dict) -> str:
    """The licence of a component, as one expression."""
    return " AND ".join(found.get("expression") or found["license"]["id"] for found in component.get("licenses", []))


def words(expression: str) -> list[str]:
    """A licence expression without the ways of writing it; `/` is an older `OR`."""
    return sorted(expression.replace("/", " OR ").replace("(", "").replace(")", "").split())


def mistakes(document: dict) -> list[str]:
    """Everything in which a bill of materials differs from the graph."""
    properties = {entry["name"]: entry["value"] for entry in document["metadata"]["properties"]}
    expected, locked = graph(properties["cdx:rustc:sbom:target:triple"]), hashes()
    components = [document["metadata"]["component"], *document["components"]]
    found = {(component["name"], component["version"]): component for component in components}
    wrong = [f"missing: {crate}" for crate in expected.keys() - found.keys()]
    # The tool also names what a feature that is off could bring, such as sqlx's driver for MySQL.
    wrong += [f"not in the lock file: {crate}" for crate in found.keys() - locked.keys()]
    for crate in expected.keys() & found.keys():
        component = found[crate]
        if not licence(component) or words(licence(component)) != words(expected[crate]):
            wrong.append(f"licence of {crate}: {licence(component)!r}, and {expected[crate]!r} in its manifest")
        hash_ = "".join(entry["content"] for entry in component.get("hashes", []))
        if hash_ != locked[crate]:
            wrong.append(f"hash of {crate}: {hash_!r}, and {locked[crate]!r} in the lock file")
    return wrong


def main() -> None:
    text = Path(sys.argv[1]).read_text()
    invalid = JsonStrictValidator(SchemaVersion.V1_5).validate_str(text)
    document = json.loads(text)
    wrong = [f"not CycloneDX: {invalid}"] if invalid else mistakes(document)
    # The check itself must be able to fail: a bill without its last crate is refused.
    short = {**document, "components": document["components"][:-1]}
    if not wrong and not mistakes(short):
        wrong.append("a missing crate is not noticed")
    here = str(Path.cwd())
    if here in text:
        wrong.append(f"it tells where it was made: {here}")
    if wrong:
        sys.exit("\n".join(wrong))
    print(f"sbom ok: {len(document['components'])} crates")


main()
