"""The keys of labels and annotations that lightragctl reads and writes, and selectors. Pure."""

from lightragctl.core.objects import KubernetesObject
from lightragctl.kube.objects import labels_of

MANAGER = "lightragctl"
"""The value of `MANAGED_BY` on our objects."""

# Labels of our objects; INSTANCE and COMPONENT are also on pods and in selectors.
INSTANCE = "app.kubernetes.io/instance"
COMPONENT = "app.kubernetes.io/component"
ROLE = "lightragctl/role"
"""On the pods of a component with several roles."""
MANAGED_BY = "app.kubernetes.io/managed-by"
REVISION_OF = "lightragctl/revision-of"
"""On the indexes of revisions; their chunks have `CHUNK_OF`. Neither has the labels of the release's objects."""
CHUNK_OF = "lightragctl/chunk-of"
OPERATION_OF = "lightragctl/operation-of"
"""Of the records of a release's operations, and of what their Jobs need: the release's name."""
OPERATION_OPEN = "lightragctl/open-operation"
"""Of the record of an operation that is not closed: its id."""
OPERATION = "lightragctl/operation"
"""Of the objects of an operation's Job: its id."""

# Annotations of our objects.
RELEASE = "lightragctl/release"
"""On a namespace that was created for a release: the release's name."""
GENERATE = "lightragctl/generate"
"""On a Secret: the keys with a generated value, separated by commas."""
CONTENT = "lightragctl/content"
"""On a pod template: the digest of the content; after a dot, a counter of further rollouts for it."""
HELD_BY = "lightragctl/held-by"
"""On a workload: the operation that keeps it without pods."""
FENCE = "lightragctl/fence"
"""The fence of the lock under which the object was last fenced."""
MACHINE = "lightragctl/machine"
COMMAND = "lightragctl/command"
ABANDONED = "lightragctl/abandoned"
"""On a Lease that its holder did not release, until a successor has fenced the release."""

# ApplySets (KEP 3659).
APPLYSET_PART_OF = "applyset.kubernetes.io/part-of"
APPLYSET_ID = "applyset.kubernetes.io/id"
APPLYSET_TOOLING = "applyset.kubernetes.io/tooling"
APPLYSET_KINDS = "applyset.kubernetes.io/contains-group-kinds"

# Labels and annotations of others.
HELM_RELEASE = "meta.helm.sh/release-name"
ZONE = "topology.kubernetes.io/zone"
DEFAULT_STORAGE_CLASS = "storageclass.kubernetes.io/is-default-class"
POD_SECURITY = "pod-security.kubernetes.io/enforce"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
REPLICA_SET_REVISION = "deployment.kubernetes.io/revision"
POD_REVISION = "controller-revision-hash"
"""On a StatefulSet's pod: its revision."""


def component_of(thing: KubernetesObject) -> str:
    """The component that the object belongs to; empty for objects of the whole release."""
    return str(labels_of(thing).get(COMPONENT, ""))


def pod_selector(release: str, component: str = "") -> str:
    """Selects the release's pods and volume claims, or those of one component."""
    return f"{INSTANCE}={release}" + (f",{COMPONENT}={component}" if component else "")


def object_selector(release: str) -> str:
    """Selects the objects that we apply for the release."""
    return f"{INSTANCE}={release},{MANAGED_BY}={MANAGER}"


def inventory_selector() -> str:
    """Selects the inventories of all releases, without their revisions and operations."""
    return f"{MANAGED_BY}={MANAGER},!{REVISION_OF},!{CHUNK_OF},!{OPERATION_OF}"
