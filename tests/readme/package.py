"""A Debian package of what Cargo.toml says that conf/package puts into one, around programs that are built already.

It is quick: nothing is compiled and nothing is compressed. tests/package tries the real one.
"""

import glob
import os
import shutil
import subprocess
import tempfile
import tomllib

# Where cargo-deb finds the files that conf/package makes, and the programs.
MADE = "target/packaged"
PROGRAMS = "target/release"
# The parts of cargo-deb's in the maintainer scripts that a page depends on: the user is made; units end before they go.
DEBHELPER = {
    "postinst": "systemd-sysusers espm.conf",
    "prerm": "[ $1 != remove ] || systemctl disable --now espm.socket espm.service espm-console.service espm-publish.path "
    "espm-backup.timer espm-metrics.timer",
}


def build(repository, programs, directory):
    """Makes the package in a directory; its path."""
    with open(os.path.join(repository, "Cargo.toml"), "rb") as file:
        package = tomllib.load(file)["package"]
    deb = package["metadata"]["deb"]
    architecture = subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, check=True).stdout.strip()
    with tempfile.TemporaryDirectory() as scratch:
        root, files = os.path.join(scratch, "root"), os.path.join(scratch, "files")
        os.mkdir(root, 0o755)
        subprocess.run([os.path.join(repository, "conf/package"), "files", files], check=True)
        places = [(MADE, files), (PROGRAMS, programs), ("", repository)]
        for asset in deb["assets"]:
            lay_out(places, root, asset)
        for unit in deb["systemd-units"]:
            lay_out(places, root, [f"{unit['unit-scripts']}/{unit['unit-name']}.*", "usr/lib/systemd/system/", "644"])
        control = os.path.join(root, "DEBIAN")
        os.mkdir(control)
        for script in ("postinst", "prerm", "postrm"):
            with open(os.path.join(repository, deb["maintainer-scripts"], script), encoding="utf-8") as file:
                text = file.read().replace("#DEBHELPER#", DEBHELPER.get(script, ""))
            write(os.path.join(control, script), text, 0o755)
        write(os.path.join(control, "conffiles"), "".join(f"{path}\n" for path in configuration(root)), 0o644)
        version = f"{package['version']}-1"
        fields = {
            "Package": package["name"], "Version": version, "Architecture": architecture, "Maintainer": deb["maintainer"],
            "Depends": deb["depends"], "Recommends": deb["recommends"], "Description": package["description"],
        }
        write(os.path.join(control, "control"), "".join(f"{name}: {value}\n" for name, value in fields.items()), 0o644)
        made = os.path.join(directory, f"{package['name']}_{version}_{architecture}.deb")
        subprocess.run(["dpkg-deb", "--root-owner-group", "-Znone", "--build", root, made], stdout=subprocess.DEVNULL, check=True)
    return made


def lay_out(places, root, asset):
    """One row of the asset list: a source, which may be a pattern, a destination and a mode; or a link."""
    if isinstance(asset, dict):
        path = os.path.join(root, asset["dest"])
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.symlink(asset["link_name"], path)
        return
    source, destination, mode = asset
    prefix, place = next((prefix, place) for prefix, place in places if source.startswith(prefix))
    found = glob.glob(os.path.join(place, source.removeprefix(prefix).lstrip("/")))
    if not found:
        raise FileNotFoundError(f"Cargo.toml: the package's asset {source} is not there")
    for path in found:
        to = os.path.join(root, destination, os.path.basename(path) if destination.endswith("/") else "").rstrip("/")
        put(path, to, int(mode, 8))
        if prefix == PROGRAMS:
            # As a release build does; a test's programs hold more of what debuggers read than of themselves.
            subprocess.run(["strip", to], check=True)


def configuration(root):
    """Everything below /etc is the administrator's once it is installed."""
    for directory, _, names in os.walk(os.path.join(root, "etc")):
        yield from (os.path.join(directory, name).removeprefix(root) for name in names)


def put(source, path, mode):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    shutil.copyfile(source, path)
    os.chmod(path, mode)


def write(path, text, mode):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path, mode)
