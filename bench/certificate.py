"""A certificate for the servers that are compared, made anew for each of them."""

import pathlib
import subprocess

from process import HOST, Trouble, command

NAME = "bench.example.test"


def make(folder: pathlib.Path) -> None:
    """Writes cert.pem and key.pem, of ECDSA P-256, and both.pem, which is what HAProxy reads."""
    openssl = command("openssl")
    made = subprocess.run(
        [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
         "-keyout", folder / "key.pem", "-out", folder / "cert.pem", "-days", "2",
         "-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME},IP:{HOST}"],
        capture_output=True, text=True, timeout=30)
    if made.returncode:
        raise Trouble(f"no certificate: {made.stderr}")
    both = (folder / "cert.pem").read_text() + (folder / "key.pem").read_text()
    (folder / "both.pem").write_text(both)
