"""Is the service of this container well? Exit code 0 or 1, and a line.

    python docker/health.py [URL]

With a URL: it answers (a refusal for want of a token counts: somebody is there). Without: the packages can be imported.
"""

import importlib
import sys
import urllib.error
import urllib.request

TIMEOUT_S = 10


def main(url: str = "") -> int:
    try:
        if url:
            with urllib.request.urlopen(url, timeout=TIMEOUT_S):
                pass
        else:
            importlib.import_module("rnr")
    except urllib.error.HTTPError as error:
        if error.code not in (401, 403):
            print(f"{url}: HTTP {error.code}")
            return 1
    except (OSError, ImportError) as error:
        print(f"{url or 'rnr'}: {type(error).__name__}")
        return 1
    print("well")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
