"""What the networks of `real-networks.tsv` are fed: one input each, near to what they were made for.

An input is written `NAME=SHAPE=RECIPE(ARGUMENTS)` in the list, as in

    x=1,3,320,320=photo(china,imagenet)

Pictures come from packages (PICTURES), text is drawn, sound and signals are synthesised. Everything is seeded and
depends on nothing else, so the same list gives the same inputs.
"""

import io
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

# Where the pictures are: name -> package of PICTURES, path inside it.
PICTURES = {
    "astronaut": ("scikit-image", "skimage/data/astronaut.png"),
    "camera": ("scikit-image", "skimage/data/camera.png"),
    "coffee": ("scikit-image", "skimage/data/coffee.png"),
    "page": ("scikit-image", "skimage/data/page.png"),
    "china": ("scikit-learn", "sklearn/datasets/images/china.jpg"),
    "flower": ("scikit-learn", "sklearn/datasets/images/flower.jpg"),
}

# How pixels of 0 to 255 become numbers: factor on x / 255, mean and deviation by channel, and their order.
IMAGENET = (np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225]))
SCALES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "byte": lambda rgb: rgb,
    "byte-bgr": lambda rgb: rgb[..., ::-1],
    "unit": lambda rgb: rgb / 255,
    "half": lambda rgb: (rgb / 255 - 0.5) / 0.5,
    "signed": lambda rgb: (rgb - 127.5) / 128,
    "imagenet": lambda rgb: (rgb / 255 - IMAGENET[0]) / IMAGENET[1],
    "caffe": lambda rgb: rgb[..., ::-1] - np.array([104.0, 117.0, 123.0]),
}

CHANNELS = (1, 3, 4)  # Of pictures whose channels come last.

RATE = 16_000  # Samples of sound a second.
HOP, WINDOW = 160, 400  # Samples between two frames of a spectrum, and in one.

TEXT = """Compressed-sparse networks skip what is zero. The quick brown fox jumps over the lazy dog, and 0123456789 too."""


@dataclass(frozen=True)
class Input:
    """One input of a network: its shape, and the recipe for its values."""

    name: str
    shape: tuple[int, ...]
    recipe: str
    arguments: tuple[str, ...]


def parse_inputs(text: str) -> list[Input]:
    """Reads the list's `inputs` column: `NAME=SHAPE=RECIPE(ARGUMENTS)`, several separated by `; `."""
    inputs = []
    for part in text.split("; "):
        found = re.fullmatch(r"(.+)=([\d,]*)=(\w+)\((.*)\)", part)
        if not found:
            raise ValueError(f"`{part}` is not NAME=SHAPE=RECIPE(ARGUMENTS)")
        name, shape, recipe, arguments = found.groups()
        sizes = tuple(int(size) for size in shape.split(",") if size)
        inputs.append(Input(name, sizes, recipe, tuple(a for a in arguments.split(",") if a)))
    return inputs


class Inputs:
    """Makes arrays of recipes; `read(PACKAGE, PATH)` gives the bytes of a file inside a package."""

    def __init__(self, read: Callable[[str, str], bytes]) -> None:
        self.read = read

    def make(self, wanted: Input, dtype: np.dtype) -> np.ndarray:
        recipe = getattr(self, f"make_{wanted.recipe}")
        values = np.asarray(recipe(wanted.shape, *wanted.arguments))
        # A picture is one; a batch has it for each of its images.
        return np.ascontiguousarray(np.resize(values, wanted.shape).astype(dtype)).reshape(wanted.shape)

    # Pictures.

    def make_photo(self, shape: tuple[int, ...], name: str, scale: str) -> np.ndarray:
        """A photograph, enlarged or reduced to the plane and cropped to its middle."""
        package, path = PICTURES[name]
        image = Image.open(io.BytesIO(self.read(package, path))).convert("RGB")
        return as_tensor(fill(image, plane(shape)), shape, scale)

    def make_text(self, shape: tuple[int, ...], text: str, scale: str) -> np.ndarray:
        """A line of text that fills the plane, dark on a paper that is not quite white."""
        height, width = plane(shape)
        font = ImageFont.load_default(size=40)
        left, top, right, bottom = font.getbbox(text)
        image = Image.new("RGB", (right - left + 24, bottom - top + 20), (236, 233, 224))
        ImageDraw.Draw(image).text((12 - left, 10 - top), text, fill=(28, 30, 46), font=font)
        return as_tensor(image.resize((width, height), Image.Resampling.BILINEAR), shape, scale)

    def make_fingerprint(self, shape: tuple[int, ...]) -> np.ndarray:
        """Ridges nine pixels apart around a whorl, as a scanner of 500 dots an inch sees them."""
        height, width = plane(shape)
        y, x = np.mgrid[:height, :width]
        far = np.hypot(y - 0.45 * height, 1.25 * (x - 0.5 * width))
        turn = np.arctan2(y - 0.45 * height, x - 0.5 * width)
        ridges = np.cos(2 * np.pi * far / 9 + 2 * np.sin(2 * turn) + noise((height, width), 0.4))
        inside = far < 0.45 * height
        return np.where(inside, 128 + 90 * ridges, 245)

    # Sound.

    def make_speech(self, shape: tuple[int, ...]) -> np.ndarray:
        """A waveform; rows of a batch are frames that follow each other and share 64 samples."""
        rows, length = (shape[0], shape[1]) if len(shape) == 2 and shape[0] > 1 else (1, int(np.prod(shape)))
        wave = speech(RATE // 5 + rows * length)[RATE // 5 :]
        step = length - 64 if rows > 1 else length
        return np.stack([wave[row * step : row * step + length] for row in range(rows)])

    def make_pcm(self, shape: tuple[int, ...]) -> np.ndarray:
        """A waveform in units of 16-bit samples."""
        return 32767 * self.make_speech(shape)

    def make_music(self, shape: tuple[int, ...]) -> np.ndarray:
        """Chords of decaying strings, a change every half second."""
        time = np.arange(int(np.prod(shape))) / 22_050
        wave = np.zeros_like(time)
        for start, notes in [(0, (220, 277.2, 329.6)), (0.5, (196, 246.9, 293.7)), (1, (174.6, 220, 261.6)), (1.5, (196, 392))]:
            after = np.maximum(time - start, 0)
            for note in notes:
                for overtone in range(1, 6):
                    wave += (time >= start) * np.exp(-3 * after) * np.sin(2 * np.pi * overtone * note * after) / overtone**2
        return 0.3 * wave / np.abs(wave).max()

    def make_spectrum(self, shape: tuple[int, ...], style: str) -> np.ndarray:
        """Frames [time, bins] of a Fourier spectrum with as many bins as the last dimension."""
        if style == "complex":  # [1, bins, time, 2]
            spectrum = fourier(2 * (shape[1] - 1), shape[2])
            return np.stack([spectrum.T.real, spectrum.T.imag], axis=-1)
        magnitude = np.abs(fourier(2 * (shape[-1] - 1), int(np.prod(shape[:-1]))))
        return magnitude if style == "magnitude" else np.log(np.maximum(magnitude**2, 1e-12))

    def make_mel(self, shape: tuple[int, ...], bins: str, style: str) -> np.ndarray:
        """Mel spectrum. The last dimension may hold several frames, or it is time where it is not of `bins`."""
        count = int(bins)
        frames = int(np.prod(shape)) // count
        power = np.abs(fourier(512, frames)) ** 2 @ mel_bank(count, 512).T
        values = {
            "log": lambda: np.log(power + 1e-6),
            "log10": lambda: np.log10(power + 1e-10),
            "decibel": lambda: (10 * np.log10(np.maximum(power, 1e-8 * power.max()) / power.max()) + 40) / 40,
            "whisper": lambda: (np.maximum(np.log10(power + 1e-10), np.log10(power.max()) - 8) + 4) / 4,
        }[style]()
        return values.T if shape[-1] == frames and shape[-2] == count else values

    # Signals and others.

    def make_eeg(self, shape: tuple[int, ...], style: str) -> np.ndarray:
        """Pink noise with waves at 10 Hz: the `wave`, or the `power` of bands, each row of mean 0 and deviation 1."""
        rows, length = shape[-2], shape[-1]
        if style == "wave":
            signal = pink(length)[None] + np.sin(2 * np.pi * 10 * np.arange(length) / 250) * 0.5
        else:
            signal = np.stack([np.convolve(pink(length, row) ** 2, np.hanning(9), "same") for row in range(rows)])
        return (signal - signal.mean(-1, keepdims=True)) / signal.std(-1, keepdims=True)

    def make_pulses(self, shape: tuple[int, ...]) -> np.ndarray:
        """Rows of zeros and ones that change now and then, as of detectors in a street."""
        return (np.cumsum(noise(shape, 1.0), axis=-1) % 7 < 2).astype(float)

    def make_bytes(self, shape: tuple[int, ...], padding: str) -> np.ndarray:
        """The bytes of a text, then padding."""
        values = np.full(int(np.prod(shape)), int(padding))
        text = np.frombuffer((TEXT * 4).encode(), np.uint8)[: values.size]
        values[: text.size] = text
        return values

    def make_tokens(self, shape: tuple[int, ...], low: str, high: str) -> np.ndarray:
        """Numbers from `low` to below `high`, small ones more often, as of words or letters."""
        part = np.random.default_rng(7).random(shape) ** 2
        return (int(low) + part * (int(high) - int(low))).astype(np.int64)

    def make_letters(self, shape: tuple[int, ...]) -> np.ndarray:
        """Words of letters, each a row of zeros with a one."""
        *sizes, letters = shape
        return np.eye(letters)[self.make_tokens(tuple(sizes), "0", str(letters))]

    def make_normal(self, shape: tuple[int, ...], deviation: str) -> np.ndarray:
        """Seeded noise, for vectors that other networks make."""
        return noise(shape, float(deviation))

    def make_uniform(self, shape: tuple[int, ...], low: str, high: str) -> np.ndarray:
        """Seeded values from `low` to `high`: distances, shares, cosines."""
        part = np.random.default_rng(7).random(shape)
        return float(low) + part * (float(high) - float(low))

    def make_value(self, shape: tuple[int, ...], value: str) -> np.ndarray:
        """One value everywhere: states at their start, switches."""
        return np.full(shape, float(value))


def plane(shape: tuple[int, ...]) -> tuple[int, int]:
    """Height and width of a picture's shape, channels first or last."""
    return (shape[1], shape[2]) if shape[-1] in CHANNELS else (shape[-2], shape[-1])


def fill(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The middle of an image that has the proportions of `size`, at that size."""
    height, width = size
    factor = max(height / image.height, width / image.width)
    image = image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.BILINEAR)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def as_tensor(image: Image.Image, shape: tuple[int, ...], scale: str) -> np.ndarray:
    """Pixels as numbers, in the layout of `shape`; one channel is the image's brightness, a fourth one is opaque."""
    last = shape[-1] in CHANNELS
    channels = shape[-1] if last else shape[1]
    if channels == 1:
        values = np.asarray(image.convert("L"), np.float64)[..., None]
        values = np.asarray(SCALES[scale](values))
    else:
        values = np.asarray(SCALES[scale](np.asarray(image, np.float64)))
    if channels == 4:
        values = np.concatenate([values, np.ones_like(values[..., :1])], axis=-1)
    return values if last else np.moveaxis(values, -1, 0)


def noise(shape: tuple[int, ...], deviation: float, seed: int = 7) -> np.ndarray:
    return deviation * np.random.default_rng(seed).standard_normal(shape)


def pink(length: int, seed: int = 0) -> np.ndarray:
    """Noise whose power falls with frequency."""
    spectrum = np.fft.rfft(noise((length,), 1.0, seed))
    return np.fft.irfft(spectrum / np.sqrt(np.maximum(np.arange(spectrum.size), 1)), length)


def speech(length: int) -> np.ndarray:
    """Syllables: a voice whose pitch falls, through two formants that change, with pauses and room noise."""
    time = np.arange(length) / RATE
    pitch = 125 + 20 * np.sin(2 * np.pi * 0.7 * time) - 8 * (time % 2)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    syllable = np.clip(1.6 * np.sin(np.pi * 3.6 * time) ** 2 - 0.35, 0, 1) * (time % 2.2 < 1.8)
    first = 450 + 250 * np.sin(2 * np.pi * 1.8 * time)
    second = 1500 + 600 * np.sin(2 * np.pi * 1.1 * time + 1)
    wave = np.zeros(length)
    for overtone in range(1, 40):
        frequency = overtone * pitch
        resonance = sum(gain / (1 + ((frequency - centre) / 90) ** 2) for centre, gain in [(first, 1.0), (second, 0.5), (2600, 0.2)])
        wave += (resonance + 0.01) / np.sqrt(overtone) * np.sin(overtone * phase)
    wave *= syllable
    return 0.5 * wave / max(np.abs(wave).max(), 1e-9) + noise((length,), 0.0015)


def fourier(size: int, frames: int) -> np.ndarray:
    """Spectrum [frames, size / 2 + 1] of speech."""
    window = min(WINDOW, size)
    wave = speech(RATE // 5 + HOP * frames + window)[RATE // 5 :]
    starts = HOP * np.arange(frames)[:, None]
    return np.fft.rfft(wave[starts + np.arange(window)] * np.hanning(window), size)


def mel_bank(count: int, size: int) -> np.ndarray:
    """Triangles [count, size / 2 + 1], evenly spaced on the mel scale."""
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + RATE / 2 / 700), count + 2) / 2595) - 1)
    bins = np.fft.rfftfreq(size, 1 / RATE)
    rise = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    fall = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    return np.maximum(0, np.minimum(rise, fall)) + 1e-4
