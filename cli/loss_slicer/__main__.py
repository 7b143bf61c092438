"""`python -m loss_slicer`."""

from loss_slicer import main

if __name__ == "__main__":
    main()
