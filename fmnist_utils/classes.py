"""The ten classes of Fashion-MNIST, what each means, and the shape of an image."""

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
OOD = -1  # the label of an image of no class (out of distribution)
IMAGE_SHAPE = (28, 28)  # height and width, in pixels
