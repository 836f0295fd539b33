# SPDX-License-Identifier: GPL-3.0-or-later
"""The others: each makes keys and certificates of devices as its documentation says.

A function returns certificates a second; it raises Missing when the program is not installed.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from cryptography import x509

ROOT = Path(__file__).resolve().parents[2]


class Missing(Exception):
    """A program that is not installed; its text names it and the package."""


def _program(name: str, package: str) -> str:
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/share/easy-rsa")
    if found is None:
        raise Missing(f"{name} is not installed (Debian: {package})")
    return found


def _run(*command: str | Path, cwd: Path, **environment: str) -> None:
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True,
        check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


def _rate(each: Callable[[str], None], count: int) -> float:
    started = time.perf_counter()
    for number in range(count):
        each(f"peer-{number:06}")
    return count / (time.perf_counter() - started)


def shell_script(directory: Path, authority: Path, count: int) -> float:
    """S1's commands, a process each: genrsa 2048, req, ca; from the CA with an RSA 4096 key that S1 has."""
    openssl = _program("openssl", "openssl")
    directory.mkdir()

    def one(name: str) -> None:
        _run(openssl, "genrsa", "-out", f"{name}.key.pem", "2048", cwd=directory)
        _run(openssl, "req", "-new", "-sha256", "-key", f"{name}.key.pem", "-subj", f"/O=Benchmark/CN={name}",
             "-out", f"{name}.csr.pem", cwd=directory)  # fmt: skip
        _run(openssl, "ca", "-batch", "-config", authority / "openssl.cnf", "-days", "365", "-notext", "-md", "sha256",
             "-in", f"{name}.csr.pem", "-out", f"{name}.cert.pem", cwd=directory)  # fmt: skip

    return _rate(one, count)


def easy_rsa(directory: Path, count: int) -> float:
    """P-256 with easy-rsa's build-client-full."""
    program = _program("easyrsa", "easy-rsa")
    directory.mkdir()
    settings = {"EASYRSA_BATCH": "1", "EASYRSA_ALGO": "ec", "EASYRSA_CURVE": "prime256v1",
                "EASYRSA_PKI": str(directory / "pki")}  # fmt: skip
    _run(program, "init-pki", cwd=directory, **settings)
    _run(program, "build-ca", "nopass", cwd=directory, EASYRSA_REQ_CN="CA", **settings)
    return _rate(lambda name: _run(program, "build-client-full", name, "nopass", cwd=directory, **settings), count)


def certtool(directory: Path, count: int) -> float:
    """P-256 with GnuTLS's certtool: two processes a device."""
    program = _program("certtool", "gnutls-bin")
    directory.mkdir()
    (directory / "ca.tmpl").write_text("cn = CA\nca\ncert_signing_key\n")
    _run(program, "--generate-privkey", "--ecc", "--curve=secp256r1", "--outfile", "ca.key", cwd=directory)
    _run(program, "--generate-self-signed", "--load-privkey", "ca.key", "--template", "ca.tmpl", "--outfile", "ca.pem",
         cwd=directory)  # fmt: skip

    def one(name: str) -> None:
        (directory / f"{name}.tmpl").write_text(f"cn = {name}\nexpiration_days = 365\ntls_www_client\nsigning_key\n")
        _run(program, "--generate-privkey", "--ecc", "--curve=secp256r1", "--outfile", f"{name}.key", cwd=directory)
        _run(program, "--generate-certificate", "--load-privkey", f"{name}.key", "--load-ca-certificate", "ca.pem",
             "--load-ca-privkey", "ca.key", "--template", f"{name}.tmpl", "--outfile", f"{name}.pem",
             cwd=directory)  # fmt: skip

    return _rate(one, count)


@contextmanager
def _cfssl(directory: Path) -> Iterator[int]:
    program = _program("cfssl", "golang-cfssl")
    directory.mkdir()
    request = {"CN": "CA", "key": {"algo": "ecdsa", "size": 256}}
    (directory / "ca.json").write_text(json.dumps(request))
    made = subprocess.run([program, "gencert", "-initca", "ca.json"], cwd=directory, capture_output=True, check=True)
    for kind, content in json.loads(made.stdout).items():
        (directory / f"ca.{kind}").write_text(content)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [program, "serve", "-address", "127.0.0.1", "-port", str(port), "-ca", "ca.cert", "-ca-key", "ca.key"],
        cwd=directory, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        _wait_for(port)
        yield port
    finally:
        server.kill()
        server.wait()


def _wait_for(port: int) -> None:
    for _ in range(100):
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
    raise SystemExit("cfssl serve does not listen")


def cfssl_serve(directory: Path, count: int) -> float:
    """P-256 from `cfssl serve`, over connections that are kept: the best of 1, 2 and 4 of them at once."""
    with _cfssl(directory) as port:
        return max(_from_cfssl(port, threads, count) for threads in (1, 2, 4))


def _from_cfssl(port: int, threads: int, count: int) -> float:
    def work(thread: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        for number in range(count // threads):
            request = {"request": {"CN": f"peer-{thread}-{number}", "key": {"algo": "ecdsa", "size": 256}}}
            connection.request("POST", "/api/v1/cfssl/newcert", json.dumps(request))
            answer = json.loads(connection.getresponse().read())
            if number == 0:
                x509.load_pem_x509_certificate(answer["result"]["certificate"].encode())

    started = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))
    return count // threads * threads / (time.perf_counter() - started)


def community_crypto(directory: Path, authority: Path, count: int) -> float:
    """P-256 with the modules of community.crypto, each in a loop over the devices; Ansible's start is not counted."""
    directory.mkdir()
    file = f"{directory}/{{{{ item }}}}"
    key, request = f"{file}.key.pem", f"{file}.csr.pem"
    certificate = {
        "path": f"{file}.cert.pem", "csr_path": request, "provider": "ownca",
        "ownca_path": f"{authority}/certs/issuing.cert.pem",
        "ownca_privatekey_path": f"{authority}/private/issuing.key.pem",
    }  # fmt: skip
    tasks: list[dict[str, object]] = [
        {"community.crypto.openssl_privatekey": {"path": key, "type": "ECC", "curve": "secp256r1"}},
        {"community.crypto.openssl_csr": {"path": request, "privatekey_path": key, "common_name": "{{ item }}"}},
        {"community.crypto.x509_certificate": certificate},
    ]
    names = [f"peer-{number:06}" for number in range(count)]
    return count / max(play(directory, [{**task, "loop": names} for task in tasks]) - play(directory, []), 0.01)


def play(directory: Path, tasks: list[dict[str, object]]) -> float:
    """Seconds that `ansible-playbook` takes for these tasks on this machine."""
    book = directory / "play.json"
    book.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    started = time.perf_counter()
    _run(Path(sys.executable).with_name("ansible-playbook"), "-i", "localhost,", "-c", "local", "-e",
         f"ansible_python_interpreter={sys.executable}", book, cwd=ROOT)  # fmt: skip
    return time.perf_counter() - started
