"""The contenders, as processes: Argo Events' own event source, and the gateway."""

from harness.gateway import Gateway
from harness.monitor import LISTEN
from programs import ArgoEventSource
from servers import EVENT
from sources import Source

SOURCE = "orders"
ON_DISK = "penstock, on disk"
PENSTOCK = ("penstock", ON_DISK)


class Argo(ArgoEventSource):
    """Logs what it logs by default."""

    def __init__(self, directory, server, bus):
        super().__init__(directory, bus, server, Source(SOURCE, False, event=EVENT))
        self.command += ["--config", server.config]
        self.env = None


class Penstock(Gateway):
    """With the default configuration, but for what says where from, where to and as Argo does."""

    def __init__(self, directory, server, bus, storage):
        state = directory / "state"
        state.mkdir(exist_ok=True)
        gateway = f'[gateway]\nstate_dir = "{state}"\nadmin_socket = "none"\n{LISTEN}'
        source = server.source(SOURCE, f'storage = "{storage}"',
                               f'insecure = true\nevent_name = "{EVENT}"')
        super().__init__(directory, gateway + source + bus.table(SOURCE))


def make_client(contender, directory, server, bus):
    if contender == "argo":
        return Argo(directory, server, bus)
    return Penstock(directory, server, bus, "disk" if contender == ON_DISK else "memory")
