"""The keys of labels and annotations that lightragctl reads and writes, and selectors made of them. Pure."""

from lightragctl.core.objects import KubernetesObject
from lightragctl.kube.objects import labels_of

MANAGER = "lightragctl"
"""The value of `MANAGED_BY` on our objects."""

# Labels of our objects; INSTANCE and COMPONENT also stand on pods, and in selectors.
INSTANCE = "app.kubernetes.io/instance"
COMPONENT = "app.kubernetes.io/component"
MANAGED_BY = "app.kubernetes.io/managed-by"
REVISION_OF = "lightragctl/revision-of"
"""Of the indexes of revisions; their chunks have `CHUNK_OF`. Neither has the labels of the release's own objects."""
CHUNK_OF = "lightragctl/chunk-of"

# Annotations of our objects.
RELEASE = "lightragctl/release"
"""Of a namespace that was made for a release: the release's name."""
GENERATE = "lightragctl/generate"
"""Of a Secret: the keys, separated by commas, that get a random value once and keep it."""
CONTENT = "lightragctl/content"
"""Of a pod template: the digest of the content, and after a dot how often pods were rolled for it."""
HELD_BY = "lightragctl/held-by"
"""Of a workload: the operation that keeps it without pods."""
FENCE = "lightragctl/fence"
"""The fence of the lock under which the object was sealed last."""
MACHINE = "lightragctl/machine"
COMMAND = "lightragctl/command"
ABANDONED = "lightragctl/abandoned"
"""Of a Lease that its holder did not give back, until a successor has sealed the release."""

# ApplySets (KEP 3659).
APPLYSET_PART_OF = "applyset.kubernetes.io/part-of"
APPLYSET_ID = "applyset.kubernetes.io/id"
APPLYSET_TOOLING = "applyset.kubernetes.io/tooling"
APPLYSET_KINDS = "applyset.kubernetes.io/contains-group-kinds"

# What others write.
HELM_RELEASE = "meta.helm.sh/release-name"
ZONE = "topology.kubernetes.io/zone"
DEFAULT_STORAGE_CLASS = "storageclass.kubernetes.io/is-default-class"
POD_SECURITY = "pod-security.kubernetes.io/enforce"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
REPLICA_SET_REVISION = "deployment.kubernetes.io/revision"
POD_REVISION = "controller-revision-hash"
"""Label of a StatefulSet's pod: the revision that it is of."""


def component_of(thing: KubernetesObject) -> str:
    """The component that the object belongs to; empty for what belongs to the release as a whole."""
    return str(labels_of(thing).get(COMPONENT, ""))


def pod_selector(release: str, component: str = "") -> str:
    """Selects the release's pods and volume claims, or those of one component."""
    return f"{INSTANCE}={release}" + (f",{COMPONENT}={component}" if component else "")


def object_selector(release: str) -> str:
    """Selects the objects that we apply for the release."""
    return f"{INSTANCE}={release},{MANAGED_BY}={MANAGER}"


def record_selector() -> str:
    """Selects the records of all releases, but not their revisions."""
    return f"{MANAGED_BY}={MANAGER},!{REVISION_OF},!{CHUNK_OF}"
