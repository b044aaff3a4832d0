"""`python -m mnist_cnn COMMAND` does what `mnist-cnn COMMAND` does."""

from mnist_cnn.cli import main

if __name__ == "__main__":
    main()
