"""The ten classes of each data set, what those of Fashion-MNIST mean, the shape of an image."""

from fmnist_utils.errors import unknown

CLASS_MEANINGS = {  # in the order of the labels, 0 to 9
    "T-shirt/top": "short-sleeved or sleeveless top without buttons",
    "Trouser": "long trousers, jeans and leggings",
    "Pullover": "long-sleeved knitwear or sweatshirt, pulled over the head",
    "Dress": "one-piece garment with a skirt",
    "Coat": "outer garment that opens at the front, jackets included",
    "Sandal": "open shoe, flat or with a heel",
    "Shirt": "top that buttons, and blouses; short or long sleeves",
    "Sneaker": "low sports or leisure shoe",
    "Bag": "handbag, clutch, shopper or rucksack",
    "Ankle boot": "closed shoe that covers the ankle",
}

CLASS_NAMES = tuple(CLASS_MEANINGS)
N_CLASSES = len(CLASS_NAMES)
_NAMES = {
    "fashion_mnist": CLASS_NAMES,
    "sketches": CLASS_NAMES,
    "mnist": tuple(map(str, range(N_CLASSES))),
}
OOD = -1  # the label of an image of no class (out of distribution)
IMAGE_SHAPE = (28, 28)  # height and width, in pixels


def class_names(dataset: str) -> tuple[str, ...]:
    """Return the names of a data set's classes, in the order of its labels.

    Parameters
    ----------
    dataset : {"fashion_mnist", "mnist", "sketches"}
        Digits are named by themselves.

    Raises
    ------
    BadInputError
        If there is no such data set.

    Examples
    --------
    >>> class_names("mnist")[3], class_names("fashion_mnist")[3]
    ('3', 'Dress')
    """
    if dataset not in _NAMES:
        raise unknown("data set", dataset, _NAMES)
    return _NAMES[dataset]
