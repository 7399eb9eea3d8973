"""What runs on the machines of a cluster: the command line and the configuration of every part.

The timings are short, so that a drill need not wait minutes for what Kubernetes does after a failure; all but the
tolerations keep the proportions of the defaults (three chances and more to renew before a node counts as lost).
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.binaries import Programs
from tests.cluster.network import Plan
from tests.cluster.pki import Keys

TOLERATION_S = 15
"""How long pods stay bound to a node that is not ready; Kubernetes' default is 300 s."""
GRACE_S, LEASE_S, STATUS_S = 16, 12, 3
"""A node is lost after 16 s of silence (default 50); a lease of 12 s is renewed every 3 s."""
HPA_SYNC_S, HPA_CALM_S = 5, 15
"""The autoscaler looks every 5 s (default 15) and shrinks after 15 s of calm (default 300)."""
PAUSE_IMAGE, BUSYBOX_IMAGE = "lightragctl.test/pause:1", "busybox:test"
METRICS_PORT = 4443


@dataclass(frozen=True)
class Layout:
    """All that a command line can need."""

    folder: Path
    plan: Plan
    keys: Keys
    programs: Programs

    def own(self, number: int) -> Path:
        """A node's disk."""
        return self.folder / f"node-{number}"

    def socket(self, number: int) -> Path:
        """A node's containerd."""
        return self.own(number) / "containerd.sock"

    def cgroup(self, number: int) -> str:
        """The name of a node's cgroup."""
        return f"lr-{self.plan.cluster}-node-{number}"


def options(**values: object) -> Iterator[str]:
    """`a_b=1` as `--a-b=1`."""
    for name, value in values.items():
        yield f"--{name.replace('_', '-')}={str(value).lower() if isinstance(value, bool) else value}"


def etcd(layout: Layout) -> list[str]:
    """Without fsync: a test cluster does not outlive its machine."""
    client, peer = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
    chosen = options(
        data_dir=layout.folder / "etcd",
        listen_client_urls=client,
        advertise_client_urls=client,
        listen_peer_urls=peer,
        initial_advertise_peer_urls=peer,
        initial_cluster=f"default={peer}",
        unsafe_no_fsync=True,
    )
    return [layout.programs["etcd"], *chosen]


def api_server(layout: Layout) -> list[str]:
    """It finds pods behind a service by itself: kube-proxy does not run where it runs."""
    keys, plan = layout.keys, layout.plan
    chosen = options(
        etcd_servers="http://127.0.0.1:2379",
        advertise_address=plan.control_plane,
        bind_address="0.0.0.0",
        client_ca_file=keys.crt("ca"),
        tls_cert_file=keys.crt("apiserver"),
        tls_private_key_file=keys.key("apiserver"),
        service_account_key_file=keys.folder / "sa.pub",
        service_account_signing_key_file=keys.key("sa"),
        service_account_issuer="https://kubernetes.default.svc",
        service_cluster_ip_range=plan.services,
        authorization_mode="Node,RBAC",
        enable_admission_plugins="NodeRestriction",
        allow_privileged=True,
        kubelet_client_certificate=keys.crt("admin"),
        kubelet_client_key=keys.key("admin"),
        kubelet_certificate_authority=keys.crt("ca"),
        kubelet_preferred_address_types="InternalIP",
        requestheader_client_ca_file=keys.crt("ca"),
        requestheader_allowed_names="front-proxy-client",
        requestheader_username_headers="X-Remote-User",
        requestheader_group_headers="X-Remote-Group",
        requestheader_extra_headers_prefix="X-Remote-Extra-",
        proxy_client_cert_file=keys.crt("front"),
        proxy_client_key_file=keys.key("front"),
        enable_aggregator_routing=True,
        default_not_ready_toleration_seconds=TOLERATION_S,
        default_unreachable_toleration_seconds=TOLERATION_S,
    )
    return [layout.programs["kube-apiserver"], *chosen]


def controllers(layout: Layout) -> list[str]:
    """Node life cycle, autoscaling, endpoints and the rest."""
    config = layout.keys.config("controllers")
    chosen = options(
        kubeconfig=config,
        authentication_kubeconfig=config,
        authorization_kubeconfig=config,
        service_account_private_key_file=layout.keys.key("sa"),
        root_ca_file=layout.keys.crt("ca"),
        cluster_signing_cert_file=layout.keys.crt("ca"),
        cluster_signing_key_file=layout.keys.key("ca"),
        use_service_account_credentials=True,
        allocate_node_cidrs=False,
        leader_elect=False,
        node_monitor_period="2s",
        node_monitor_grace_period=f"{GRACE_S}s",
        horizontal_pod_autoscaler_sync_period=f"{HPA_SYNC_S}s",
        horizontal_pod_autoscaler_downscale_stabilization=f"{HPA_CALM_S}s",
        horizontal_pod_autoscaler_cpu_initialization_period="10s",
        horizontal_pod_autoscaler_initial_readiness_delay="5s",
    )
    return [layout.programs["kube-controller-manager"], *chosen]


def scheduler(layout: Layout) -> list[str]:
    """Places pods."""
    config = layout.keys.config("scheduler")
    chosen = options(
        kubeconfig=config, authentication_kubeconfig=config, authorization_kubeconfig=config, leader_elect=False
    )
    return [layout.programs["kube-scheduler"], *chosen]


def coredns(layout: Layout) -> list[str]:
    """The cluster's DNS, as a process beside the API server."""
    corefile = layout.folder / "Corefile"
    corefile.write_text(
        f""".:53 {{
  bind {layout.plan.control_plane}
  errors
  ready {layout.plan.control_plane}:8181
  kubernetes cluster.local in-addr.arpa {{
    kubeconfig {layout.keys.config("admin")} lightragctl-test-{layout.plan.cluster}
    pods insecure
  }}
  cache 5
}}
"""
    )
    return [layout.programs["coredns"], "-conf", str(corefile)]


def metrics_server(layout: Layout) -> list[str]:
    """Asks every kubelet each 10 s, the least it accepts; an answer must come in less."""
    config = layout.keys.config("admin")
    chosen = options(
        kubeconfig=config,
        authentication_kubeconfig=config,
        authorization_kubeconfig=config,
        kubelet_certificate_authority=layout.keys.crt("ca"),
        kubelet_preferred_address_types="InternalIP",
        metric_resolution="10s",
        kubelet_request_timeout="5s",
        secure_port=METRICS_PORT,
        cert_dir=layout.folder / "metrics-server",
    )
    return [layout.programs["metrics-server"], *chosen]


def local_path(layout: Layout) -> list[str]:
    """Makes a volume as a folder on the node's disk, by a short-lived pod there."""
    places = [
        {"node": f"node-{number}", "paths": [str(layout.own(number) / "volumes")]} for number in layout.plan.numbers
    ]
    config = layout.folder / "local-path.json"
    config.write_text(json.dumps({"nodePathMap": places}))
    chosen = options(
        config=config,
        kubeconfig=layout.keys.config("admin"),
        namespace="kube-system",
        configmap_name="local-path-config",
        helper_image=BUSYBOX_IMAGE,
        service_account_name="default",
    )
    return [layout.programs["local-path-provisioner"], "start", *chosen]


def containerd(layout: Layout, number: int) -> list[str]:
    """Writes the container network and containerd's configuration, both Debian 12's age (containerd 1.6).

    Pods get a point-to-point link each and not a bridge, so that every packet is routed and kube-proxy's rules see it.
    `restrict_oom_score_adj`: where CAP_SYS_RESOURCE is missing no sandbox would start without it.
    """
    own = layout.own(number)
    (own / "cni").mkdir(parents=True, exist_ok=True)
    addresses = {"type": "host-local", "dataDir": str(own / "ipam"), "ranges": [[{"subnet": layout.plan.pods(number)}]]}
    link = {"type": "ptp", "ipMasq": False, "ipam": {**addresses, "routes": [{"dst": "0.0.0.0/0"}]}}
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    chain = {"cniVersion": "0.4.0", "name": "pods", "plugins": [link, ports]}
    (own / "cni" / "10-pods.conflist").write_text(json.dumps(chain))
    (own / "containerd.toml").write_text(
        f"""version = 2
root = "{own}/containerd"
state = "/run/containerd"
[grpc]
  address = "{layout.socket(number)}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{own}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
"""
    )
    return ["containerd", "--config", str(own / "containerd.toml")]


def kubelet(layout: Layout, number: int) -> list[str]:
    """Pods live under a cgroup of the node's own; images are never collected, as there is nowhere to pull from."""
    keys, name = layout.keys, f"node-{number}"
    config = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": keys.crt("ca")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": keys.crt(name),
        "tlsPrivateKeyFile": keys.key(name),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{layout.cgroup(number)}",
        "failSwapOn": False,
        "containerRuntimeEndpoint": f"unix://{layout.socket(number)}",
        "clusterDomain": "cluster.local",
        "clusterDNS": [layout.plan.control_plane],
        "resolvConf": "",
        "serializeImagePulls": False,
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "evictionHard": {"memory.available": "200Mi", "nodefs.available": "1Gi"},
        "nodeLeaseDurationSeconds": LEASE_S,
        "nodeStatusUpdateFrequency": f"{STATUS_S}s",
        "maxPods": 60,
    }
    path = layout.own(number) / "kubelet.json"
    path.write_text(json.dumps(config))
    chosen = options(
        config=path,
        kubeconfig=keys.config(name),
        hostname_override=name,
        node_ip=layout.plan.node(number),
        root_dir="/var/lib/kubelet",
        node_labels=f"topology.kubernetes.io/zone=zone-{number},topology.kubernetes.io/region=test",
    )
    return [layout.programs["kubelet"], *chosen]


def kube_proxy(layout: Layout, number: int) -> list[str]:
    """Traffic from outside the pods' range (this machine's) is masqueraded, so that answers find their way back."""
    config = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": layout.keys.config("proxy")},
        "clusterCIDR": layout.plan.all_pods,
        "mode": "iptables",
        "hostnameOverride": f"node-{number}",
        "conntrack": {"maxPerCore": 0, "min": 0},
        "iptables": {"minSyncPeriod": "100ms", "syncPeriod": "30s"},
    }
    path = layout.own(number) / "kube-proxy.json"
    path.write_text(json.dumps(config))
    return [layout.programs["kube-proxy"], f"--config={path}"]
