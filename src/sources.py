"""The published datasets: where their files are, and the hashes of those files."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """A published dataset.

    Attributes:
        folder: in torchvision's layout.
        mirrors: URLs of folders.
        hashes: of each file, (packed, unpacked): SHA-256, `md5:` and MD5 where no other is published, or "" for none.
        suffix: of the packed files.
        members: of a .zip, the packed files inside that are wanted.
        max_bytes: limit of a file, by default `download.MAX_BYTES`.
    """

    folder: str
    mirrors: tuple[str, ...]
    hashes: dict[str, tuple[str, str]]
    suffix: str = ".gz"
    members: tuple[str, ...] = ()
    max_bytes: int | None = None


FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
SOURCES = {
    "mnist": Source(
        folder="MNIST",
        mirrors=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
        hashes={
            "train-images-idx3-ubyte": (
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            ),
            "train-labels-idx1-ubyte": (
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
                "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            ),
            "t10k-images-idx3-ubyte": (
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            ),
            "t10k-labels-idx1-ubyte": (
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
                "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            ),
        },
    ),
    "fashion-mnist": Source(
        folder="FashionMNIST",
        mirrors=("https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",),
        hashes={
            "train-images-idx3-ubyte": (
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
                "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            ),
            "train-labels-idx1-ubyte": (
                "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
                "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            ),
            "t10k-images-idx3-ubyte": (
                "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
                "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            ),
            "t10k-labels-idx1-ubyte": (
                "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
                "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            ),
        },
    ),
    "kmnist": Source(
        folder="KMNIST",
        mirrors=("https://codh.rois.ac.jp/kmnist/dataset/kmnist/",),
        hashes={  # as in TensorFlow Datasets' url_checksums/kmnist.txt
            "train-images-idx3-ubyte": ("51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4", ""),
            "train-labels-idx1-ubyte": ("e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17", ""),
            "t10k-images-idx3-ubyte": ("edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5", ""),
            "t10k-labels-idx1-ubyte": ("20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c", ""),
        },
    ),
    "qmnist": Source(
        folder="QMNIST",
        mirrors=("https://raw.githubusercontent.com/facebookresearch/qmnist/master/",),
        hashes={  # as in torchvision's datasets/mnist.py; no SHA-256 is published
            "qmnist-train-images-idx3-ubyte": ("md5:ed72d4157d28c017586c42bc6afe6370", ""),
            "qmnist-train-labels-idx2-int": ("md5:0058f8dd561b90ffdd0f734c6a30e5e4", ""),
            "qmnist-test-images-idx3-ubyte": ("md5:1394631089c404de565df7b7aeaf9412", ""),
            "qmnist-test-labels-idx2-int": ("md5:5b5b05890a5e13444e108efe57b788aa", ""),
        },
    ),
    "emnist-digits": Source(
        folder="EMNIST",
        mirrors=("https://biometrics.nist.gov/cs_links/EMNIST/",),
        hashes={  # as in TensorFlow Datasets' url_checksums/emnist.txt
            "gzip": ("fb9bb67e33772a9cc0b895e4ecf36d2cf35be8b709693c3564cea2a019fcda8e", "")
        },
        suffix=".zip",
        members=tuple(
            f"gzip/emnist-digits-{split}-{kind}-ubyte.gz"
            for split in ("train", "test")
            for kind in ("images-idx3", "labels-idx1")
        ),
        max_bytes=600_000_000,
    ),
    "usps": Source(
        folder="USPS",
        mirrors=("https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass/",),
        hashes={  # as in torchvision's datasets/usps.py; no SHA-256 is published
            "usps": ("md5:ec16c51db3855ca6c91edd34d0e9b197", ""),
            "usps.t": ("md5:8ea070ee2aca1ac39742fdd1ef5ed118", ""),
        },
        suffix=".bz2",
    ),
}
ANY_IDX = Source("", (), dict.fromkeys(FILES, ("any", "any")))
"""The four files of a dataset in MNIST's format whose hashes nobody published."""
