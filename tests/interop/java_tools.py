"""The Java stacks: the JAX-WS reference implementation by `wsimport`, and Axis 1.4 by `WSDL2Java`."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from foreign_tools import CLIENTS, Client, Contracts, Tool, run, start_driver

JAVA = CLIENTS / "java"
JARS = Path("/usr/share/java")


class _JavaTool(Tool):
    jars: tuple[str, ...]
    program: str

    @property
    def files(self) -> list[str]:  # type: ignore[override]
        return [str(JARS / f"{jar}.jar") for jar in self.jars]

    @property
    def class_path(self) -> str:
        return ":".join([".", *self.files])

    def build(self, folder: Path, contracts: Contracts) -> None:
        for service, address in contracts.items():
            self.generate(folder, service, address)
        sources = [JAVA / "Driver.java", JAVA / f"{self.program}.java", *folder.rglob("*.java")]
        options = ("-encoding", "UTF-8", "-proc:none", "-nowarn", "-Xlint:none", "-cp", self.class_path, "-d", ".")
        run(folder, "javac", *options, *sources)

    def generate(self, folder: Path, service: str, address: str) -> None:
        raise NotImplementedError

    def connect(self, folder: Path, contracts: Contracts, version: str) -> AbstractContextManager[Client]:
        named = [f"{name}={address}" for name, address in contracts.items()]
        options = ("-XX:TieredStopAtLevel=1", "-cp", self.class_path)
        return start_driver(folder, "java", *options, self.program, version, *named)


class JaxWs(_JavaTool):
    name = "jax-ws"
    packages = "apt-get install jaxws default-jdk-headless libgoogle-gson-java"
    programs = ("java", "javac", "wsimport")
    jars = ("gson", "jaxws-rt", "jaxws-api", "jaxb-api", "jws-api", "saaj")
    program = "JaxWs"

    def generate(self, folder: Path, service: str, address: str) -> None:
        options = ("-extension", "-XadditionalHeaders", "-Xnocompile", "-quiet", "-s", ".")
        run(folder, "wsimport", *options, "-p", f"jaxws.{service.lower()}", address)


class Axis(_JavaTool):
    name = "axis"
    versions = ("1.1",)
    packages = "apt-get install libaxis-java default-jdk-headless libgoogle-gson-java"
    programs = ("java", "javac")
    jars = (
        "gson",
        "axis",
        "axis-jaxrpc",
        "axis-saaj",
        "commons-discovery",
        "commons-logging",
        "javax.activation",
        "javax.mail",
        "wsdl4j",
    )
    program = "Axis"

    def generate(self, folder: Path, service: str, address: str) -> None:
        program = ("java", "-XX:TieredStopAtLevel=1", "-cp", self.class_path, "org.apache.axis.wsdl.WSDL2Java")
        run(folder, *program, "-a", "-o", ".", "-p", f"axis.{service.lower()}", address)
