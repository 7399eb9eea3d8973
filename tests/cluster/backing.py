"""What a Milvus of several pods stands on, as images for the test cluster: etcd, Kafka, and an S3 server on a folder.

etcd is a part of the program that Kubernetes is built into; Kafka comes from Maven with a Java runtime cut out of this
machine's JDK; the S3 server is a Go module. Nothing of it is needed by the other stories, so it is made when asked for.
"""

import shutil
from pathlib import Path

from tests.cluster.archive import Image
from tests.cluster.binaries import install, programs
from tests.cluster.commands import run
from tests.cluster.images import base, pack, recipe
from tests.cluster.kept import ClusterError, digest, kept, say

KAFKA, SCALA, S3 = "4.0.2", "2.13", "v1.8.0"
S3_MODULE = "github.com/versity/versitygw/cmd/versitygw"
ETCD_IMAGE, KAFKA_IMAGE, S3_IMAGE = "test/etcd:3.6.4", f"test/kafka:{KAFKA}", f"test/s3:{S3}"
JAVA_MODULES = "java.se,jdk.attach,jdk.unsupported,jdk.management,jdk.crypto.ec,jdk.security.auth"
POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>test</groupId><artifactId>kafka</artifactId><version>1</version><dependencies><dependency>
<groupId>org.apache.kafka</groupId><artifactId>kafka_{SCALA}</artifactId><version>{KAFKA}</version>
</dependency></dependencies></project>
"""
SCRIPT = '#!/bin/sh\nexec java $KAFKA_HEAP_OPTS -cp "/opt/kafka/libs/*" {main} "$@"\n'


def backing_images() -> list[Image]:
    """The three images."""
    path = {"Env": ["PATH=/opt/java/bin:/usr/local/bin:/usr/bin:/bin"]}
    etcd = kept(f"layer-etcd-{recipe(make_etcd)}", make_etcd)
    kafka = kept(f"layer-kafka-{KAFKA}-{digest(recipe(make_kafka), JAVA_MODULES)}", make_kafka)
    s3 = kept(f"layer-s3-{S3}-{recipe(make_s3)}", make_s3)
    return [
        Image(ETCD_IMAGE, (base(), etcd), path),
        Image(KAFKA_IMAGE, (base(), kafka), path),
        Image(S3_IMAGE, (base(), s3), {**path, "Entrypoint": ["versitygw"]}),
    ]


def make_etcd(target: Path) -> None:
    """The program of all parts, by etcd's name."""
    folder = target / "root" / "usr/local/bin"
    folder.mkdir(parents=True)
    shutil.copy(Path(programs()["etcd"]).resolve(), folder / "etcd")
    pack(target / "root", target)


def make_kafka(target: Path) -> None:
    """Kafka's libraries, a Java runtime, and the two scripts of its distribution that our manifest runs."""
    for program in ("mvn", "jlink"):
        if not shutil.which(program):
            raise ClusterError(f"{program} is not installed: apt-get install maven openjdk-17-jdk-headless")
    say(f"making the image of Kafka {KAFKA}; this happens once, about a minute")
    home = target / "root" / "opt/kafka"
    (home / "bin").mkdir(parents=True)
    (target / "pom.xml").write_text(POM)
    quiet = ("-q", "-B", "-f", target / "pom.xml")
    run("mvn", *quiet, "dependency:copy-dependencies", f"-DoutputDirectory={home / 'libs'}", timeout_s=600)
    java = target / "root" / "opt/java"
    lean = ("--strip-debug", "--no-header-files", "--no-man-pages")
    run("jlink", "--add-modules", JAVA_MODULES, *lean, "--output", java, timeout_s=300)
    for name, main in (("kafka-storage", "kafka.tools.StorageTool"), ("kafka-server-start", "kafka.Kafka")):
        script = home / "bin" / f"{name}.sh"
        script.write_text(SCRIPT.format(main=main))
        script.chmod(0o755)
    (target / "pom.xml").unlink()
    pack(target / "root", target)


def make_s3(target: Path) -> None:
    """The S3 server, built from source."""
    folder = target / "root" / "usr/local/bin"
    folder.parent.mkdir(parents=True)
    install(f"{S3_MODULE}@{S3}", folder)
    pack(target / "root", target)
