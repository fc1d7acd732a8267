"""Every SOAP service of this server. Run as a module it publishes their contracts anew into `wsdl/`."""

from __future__ import annotations

from services.mailup.import_service import IMPORT_SERVICE
from services.soap.contract import write_frozen

SERVICES = (IMPORT_SERVICE,)

if __name__ == "__main__":
    for service in SERVICES:
        print(write_frozen(service))
