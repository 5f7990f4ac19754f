"""The ten classes of Fashion-MNIST, what each means, and the shape of an image."""

CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

CLASS_MEANINGS = {
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

N_CLASSES = len(CLASS_NAMES)
OOD = -1  # the label of an image of no class
IMAGE_SHAPE = (28, 28)
