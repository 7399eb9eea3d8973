"""Our own image, for pods and containers that run besides the components. Reads pods."""

from lightragctl.core.profile import Image
from lightragctl.kube.labels import INSTANCE
from lightragctl.kube.objects import spec_of, status_of
from lightragctl.kube.scope import Scope


def own_image(scope: Scope, image: Image) -> str:
    """Our image as the release's pods run it, by its digest where the node pulled it by one; else the profile's."""
    wanted = f"{image.repository}:{image.tag}"
    for pod in scope.cluster.select("v1", "Pod", scope.namespace, f"{INSTANCE}={scope.release}"):
        images = {one["name"]: one.get("image") for one in spec_of(pod).get("containers") or ()}
        for container in status_of(pod).get("containerStatuses") or ():
            pulled, _, digest = str(container.get("imageID", "")).partition("@")
            if images.get(container.get("name")) == wanted and digest and pulled.endswith(image.repository):
                return f"{image.repository}@{digest}"
    return wanted
