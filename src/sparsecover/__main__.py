"""``python -m sparsecover``."""

from sparsecover.cli import main

if __name__ == "__main__":
    main()
