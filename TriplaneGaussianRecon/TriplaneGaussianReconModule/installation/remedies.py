"""What to do about an installation that failed, by what the installer said."""
from __future__ import annotations

import re

from slicer.i18n import tr as _


def remedy(log: str) -> str:
    """Return what to do about an installation that failed with this log."""
    return next((advice for sign, advice in _remedies() if re.search(sign, log, re.IGNORECASE)),
                _("The log says why; its last lines are the most telling ones."))


def _remedies() -> tuple[tuple[str, str], ...]:
    """Signs of a cause in a log, and what to do about it, in the language that is chosen now."""
    return (
        (r"no such option: --(?:dry-run|report)|invalid choice: 'raw'|invalid --progress-bar value",
         _("The pip in Slicer's Python is too old. In the Python console, type "
           "slicer.util.pip_install('--upgrade pip'), restart Slicer and try again.")),
        (r"WinError 225|WinError 995|contains a virus or potentially unwanted|THESE PACKAGES DO NOT MATCH THE HASHES|"
         r"Expected sha256",
         _("A file was changed or withheld on its way, as antivirus programs and some proxies do. Let the antivirus "
           "program except Slicer's folder, or ask who looks after this computer; then try again.")),
        (r"WinError 206|file ?name or extension is too long|path too long",
         _("A path is too long for Windows. Install Slicer into a folder with a short path, or allow long paths in "
           "Windows.")),
        (r"No space left on device|WinError 112|not enough space",
         _("The disk is full: make room and try again.")),
        (r"WinError 5\b|WinError 32\b|Permission denied|Access is denied|Errno 13",
         _("Files are in use or may not be written. Restart Slicer, close its other windows, and try this before "
           "anything else; Slicer has to be in a folder that you may write to.")),
        (r"ProxyError|Tunnel connection failed|407 Proxy",
         _("The proxy refused the connection. Set the environment variable HTTPS_PROXY to "
           "http://user:password@host:port before Slicer is started.")),
        (r"CERTIFICATE_VERIFY_FAILED|SSLError|SSLCertVerificationError",
         _("A certificate was not accepted, as happens behind proxies that look into connections. Set the environment "
           "variable PIP_CERT to the file of your organisation's certificates before Slicer is started.")),
        (r"getaddrinfo failed|Temporary failure in name resolution|Name or service not known|NewConnectionError|"
         r"ConnectTimeout|Read timed out|Connection (?:refused|reset|broken)|Network is unreachable",
         _("The internet could not be reached. Connect and try again; behind a proxy, set the environment variable "
           "HTTPS_PROXY to http://host:port before Slicer is started.")),
        (r"build_source\(\) missing",  # light-the-torch 0.8.1, where it finds no torch there and looks on
         _("The server download.pytorch.org, from which torch comes, could not be reached. Let the firewall or proxy "
           "let it through, and try again.")),
        (r"no RECORD file was found|invalid metadata|Ignoring invalid distribution",
         _("An earlier installation was broken off. In Slicer's folder lib/Python/Lib/site-packages, delete what that "
           "package left there (for torch: the folders whose names start with 'torch-' or '~orch'), and try again.")),
        (r"ResolutionImpossible|conflicting dependencies",
         _("No version fits what is installed. A newer Slicer may help; or uninstall the conflicting package, which "
           "the log names, if another extension brought it.")),
        (r"No matching distribution found|Could not find a version that satisfies",
         _("There is no version of a package for this Slicer's Python and this system; the log names it. If you are "
           "behind a proxy or a mirror of PyPI, it may be that this lacks the package. Otherwise a newer Slicer may "
           "help.")),
    )
