"""The contenders, as processes: Argo Events' own event source, and the gateway."""

from harness.gateway import Gateway
from harness.process import Process
from paths import ARGO
from servers import EVENT

SOURCE = "orders"
ON_DISK = "penstock, on disk"
PENSTOCK = ("penstock", ON_DISK)


class Argo(Process):
    """Its generic event source with its bus drivers, without Kubernetes (tests/argo)."""

    def __init__(self, directory, server, bus):
        assert ARGO.exists(), f"{ARGO} is not built: tests/argo/build"
        super().__init__("argo", [ARGO, "--url", server.url, "--config", server.config,
                                  "--event-source", SOURCE, "--event-name", EVENT,
                                  *bus.argo_flags()], directory)


class Penstock(Gateway):
    """With the default configuration, but for what says where from, where to and as Argo does."""

    def __init__(self, directory, server, bus, storage):
        state = directory / "state"
        state.mkdir(exist_ok=True)
        config = (f'[gateway]\nstate_dir = "{state}"\nadmin_socket = "none"\n'
                  'admin_listen = "127.0.0.1:0"\n'
                  f'[sources.{SOURCE}]\nplugin = "generic"\nurl = "{server.url}"\n'
                  f'insecure = true\nconfig = "{server.config}"\nevent_name = "{EVENT}"\n'
                  f'queue = {{ storage = "{storage}" }}\n{bus.penstock_sink(SOURCE)}')
        super().__init__(directory, config)


def make_client(contender, directory, server, bus):
    if contender == "argo":
        return Argo(directory, server, bus)
    return Penstock(directory, server, bus, "disk" if contender == ON_DISK else "memory")
