"""FiLo read plainly: numpy in double precision, a loop for each head, prompt, kernel offset and map.

It shares nothing with `core.filo`: weights come as a checkpoint names them, and each step is one of the method's
sentences. Each habit of the release is a flag of its own, so that a test can take one away.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

Array = NDArray[np.float64]
HABITS = frozenset(
    {"first layer overwritten", "values overwritten", "attention added", "shift after adapter", "corners aligned"}
)
"""What the release does besides, where it changes tensors."""
KERNELS = {"11": (1, 1), "33": (3, 3), "55": (5, 5), "77": (7, 7), "15": (1, 5), "51": (5, 1)}


@dataclass
class Plain:
    """A CLIP and a head by the names of their weights."""

    clip: dict[str, NDArray[np.float32]]
    head: dict[str, NDArray[np.float32]]
    heads: int
    text_heads: int
    layers: tuple[int, ...]
    patch: int
    habits: frozenset[str] = HABITS
    start: int = 0
    """Block behind which the value-value stream starts; 0: the first of the layers."""

    def judge(self, pixels: Array, normal: NDArray[np.int64], abnormal: NDArray[np.int64]) -> tuple[float, Array, int]:
        """The image score, the map [H, W] and the position, 0 to 8, of pixels [3, H, W].

        `normal` [P, 77] and `abnormal` [S * 9, 77] are token ids, with twelve words in the place of the context. The
        position is that of the largest value of the map that all nine positions give.
        """
        seen = self.see(pixels)
        _, everywhere = self.score(seen, normal, abnormal)
        row, col = np.unravel_index(int(everywhere.argmax()), everywhere.shape)
        position = 3 * (int(row) * 3 // len(everywhere)) + int(col) * 3 // len(everywhere)
        return *self.score(seen, normal, abnormal[position::9]), position

    def see(self, pixels: Array) -> tuple[Array, Array, list[Array], int]:
        """The adapted image, what shifts the contexts, the decoded tokens of seven maps, and the size of a map."""
        image, ordinary, values = self.vision(pixels)
        adapted = unit(self.adapter(image))
        shift = adapted if "shift after adapter" in self.habits else unit(image)
        side = round(math.sqrt(len(ordinary[0])))
        decoded = [self.linear(number, tokens) for number, tokens in enumerate(ordinary)]
        decoded += [self.convolved(number, tokens, side) for number, tokens in enumerate(values)]
        return adapted, shift, decoded, pixels.shape[1]

    def score(
        self, seen: tuple[Array, Array, list[Array], int], normal: NDArray[np.int64], abnormal: NDArray[np.int64]
    ) -> tuple[float, Array]:
        """The image score and the map [H, W], with all of the prompts."""
        adapted, shift, decoded, size = seen
        labels = [self.label(shift, ids, side) for ids, side in ((normal, "normal"), (abnormal, "abnormal"))]
        joint = math.sqrt(sum(float(label @ label) for label in labels))
        labels = [label / joint for label in labels]
        mean = np.zeros((size, size))
        for tokens in decoded:
            mean += blurred(self.layer_map(tokens, labels, size)) / len(decoded)
        return (float(adapted @ labels[1]) + float(mean.max())) / 2, mean

    # The vision transformer with two streams.

    def vision(self, pixels: Array) -> tuple[Array, list[Array], list[Array]]:
        """f(x) [d], of no set length, and the patch tokens [N, w] of both streams at the chosen layers."""
        x = self.patches(pixels)
        x = norm(x, self.w("visual.ln_pre.weight"), self.w("visual.ln_pre.bias"))
        depth = 1 + max(int(key.split(".")[3]) for key in self.clip if key.startswith("visual.transformer.resblocks"))
        start = self.start or self.layers[0]
        stream, ordinary, values = x, {}, {}
        for number in range(1, depth + 1):
            name = f"visual.transformer.resblocks.{number - 1}."
            q, k, v = self.project(name, norm(x, self.w(name + "ln_1.weight"), self.w(name + "ln_1.bias")))
            added = self.out(name, attention(q, k, v, self.heads))
            if number - 1 in ordinary and "attention added" in self.habits:
                ordinary[number - 1] = ordinary[number - 1] + added
            if number > start:
                stream = stream + self.out(name, attention(v, v, v, self.heads))
            x = x + added
            x = x + self.mlp(name, norm(x, self.w(name + "ln_2.weight"), self.w(name + "ln_2.bias")))
            if number == start:
                stream = x
            if number in self.layers:
                ordinary[number], values[number] = x, stream
        if "first layer overwritten" in self.habits:
            ordinary[self.layers[0]] = stream
        if "values overwritten" in self.habits:
            values = dict.fromkeys(values, stream)
        pooled = norm(x[:1], self.w("visual.ln_post.weight"), self.w("visual.ln_post.bias"))[0]
        image = pooled @ self.w("visual.proj")
        return (
            image,
            [ordinary[number][1:] for number in self.layers],
            [values[number][1:] for number in self.layers if number > start],
        )

    def patches(self, pixels: Array) -> Array:
        kernel = self.w("visual.conv1.weight")
        rows = [self.w("visual.class_embedding")]
        for top in range(0, pixels.shape[1], self.patch):
            for left in range(0, pixels.shape[2], self.patch):
                square = pixels[:, top : top + self.patch, left : left + self.patch]
                rows.append(kernel.reshape(len(kernel), -1) @ square.reshape(-1))
        return np.stack(rows) + self.w("visual.positional_embedding")

    def project(self, name: str, x: Array) -> tuple[Array, Array, Array]:
        weight, bias = self.w(name + "attn.in_proj_weight"), self.w(name + "attn.in_proj_bias")
        width = x.shape[1]
        q, k, v = ((x @ weight[i * width :][:width].T + bias[i * width :][:width]) for i in range(3))
        return q, k, v

    def out(self, name: str, x: Array) -> Array:
        return x @ self.w(name + "attn.out_proj.weight").T + self.w(name + "attn.out_proj.bias")

    def mlp(self, name: str, x: Array) -> Array:
        hidden = gelu(x @ self.w(name + "mlp.c_fc.weight").T + self.w(name + "mlp.c_fc.bias"))
        return hidden @ self.w(name + "mlp.c_proj.weight").T + self.w(name + "mlp.c_proj.bias")

    # Prompts.

    def label(self, shift: Array, ids: NDArray[np.int64], side: str) -> Array:
        """The unit mean of the unit embeddings of prompts [P, 77]."""
        name = f"{side}_prompt_learner."
        hidden = shift @ self.h(name + "meta_net.linear1.weight").T + self.h(name + "meta_net.linear1.bias")
        bias = np.maximum(hidden, 0) @ self.h(name + "meta_net.linear2.weight").T
        bias = bias + self.h(name + "meta_net.linear2.bias")
        context = self.h(name + "ctx")
        total = np.zeros(self.w("text_projection").shape[1])
        for prompt in ids:
            tokens = self.w("token_embedding.weight")[prompt]
            for place in range(len(context)):
                tokens[1 + place] = context[place] + bias
            total += unit(self.text(tokens, int(prompt.argmax())))
        return unit(total / len(ids))

    def text(self, tokens: Array, end: int) -> Array:
        x = tokens + self.w("positional_embedding")
        depth = 1 + max(int(key.split(".")[2]) for key in self.clip if key.startswith("transformer.resblocks"))
        for number in range(depth):
            name = f"transformer.resblocks.{number}."
            q, k, v = self.project(name, norm(x, self.w(name + "ln_1.weight"), self.w(name + "ln_1.bias")))
            x = x + self.out(name, attention(q, k, v, self.text_heads, causal=True))
            x = x + self.mlp(name, norm(x, self.w(name + "ln_2.weight"), self.w(name + "ln_2.bias")))
        x = norm(x, self.w("ln_final.weight"), self.w("ln_final.bias"))
        return x[end] @ self.w("text_projection")

    # The head.

    def adapter(self, image: Array) -> Array:
        y = np.maximum(image @ self.h("adapter.fc.0.weight").T, 0) @ self.h("adapter.fc.2.weight").T
        return image + y / (1 + np.exp(-y))

    def linear(self, number: int, tokens: Array) -> Array:
        name = f"decoder_linear.fc.{number}."
        return tokens @ self.h(name + "weight").T + self.h(name + "bias")

    def convolved(self, number: int, tokens: Array, side: int) -> Array:
        picture = tokens.reshape(side, side, -1)
        total = np.zeros((side, side, len(self.h(f"decoder_cov.fc_11.{number}.bias"))))
        for name, (high, wide) in KERNELS.items():
            weight = self.h(f"decoder_cov.fc_{name}.{number}.weight")
            padded = np.pad(picture, ((high // 2,) * 2, (wide // 2,) * 2, (0, 0)))
            for row in range(high):
                for col in range(wide):
                    total += padded[row : row + side, col : col + side] @ weight[:, :, row, col].T
            total += self.h(f"decoder_cov.fc_{name}.{number}.bias")
        return total.reshape(side * side, -1)

    def layer_map(self, decoded: Array, labels: list[Array], size: int) -> Array:
        """The abnormal probability [H, W]."""
        side = round(math.sqrt(len(decoded)))
        cosines = []
        for label in labels:
            values = [100 * float(unit(token) @ label) for token in decoded]
            cosines.append(enlarged(np.array(values).reshape(side, side), size, "corners aligned" in self.habits))
        normal, abnormal = cosines
        return 1 / (1 + np.exp(normal - abnormal))

    def w(self, name: str) -> Array:
        return self.clip[name].astype(np.float64)

    def h(self, name: str) -> Array:
        return self.head[name].astype(np.float64)


def unit(x: Array) -> Array:
    return x / np.sqrt((x * x).sum())


def norm(x: Array, weight: Array, bias: Array) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * weight + bias


def gelu(x: Array) -> Array:
    """x times the share of the normal distribution below x."""
    return x * (1 + erf(x / math.sqrt(2))) / 2


def attention(q: Array, k: Array, v: Array, heads: int, *, causal: bool = False) -> Array:
    size = q.shape[1] // heads
    found = []
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        logits = q[:, part] @ k[:, part].T / math.sqrt(size)
        if causal:
            logits[np.triu_indices(len(q), 1)] = -np.inf
        weights = np.exp(logits - logits.max(-1, keepdims=True))
        found.append(weights / weights.sum(-1, keepdims=True) @ v[:, part])
    return np.concatenate(found, 1)


def enlarged(small: Array, size: int, corners: bool) -> Array:
    """Bilinear: the corners of both pictures on each other, or each value at the centre of what it covers."""
    side = len(small)
    lines = np.zeros((size, side))
    for pixel in range(size):
        place = pixel * (side - 1) / (size - 1) if corners else (pixel + 0.5) * side / size - 0.5
        place = min(max(place, 0.0), side - 1.0)
        low = min(int(place), side - 2)
        lines[pixel, low], lines[pixel, low + 1] = 1 - (place - low), place - low
    return lines @ small @ lines.T


def blurred(picture: Array) -> Array:
    """3 x 3 Gaussian, sigma 4, the border mirrored without its own line."""
    weights = {offset: math.exp(-(offset**2) / 32) for offset in (-1, 0, 1)}
    total = sum(weights.values()) ** 2
    padded = np.pad(picture, 1, mode="reflect")
    found = np.zeros_like(picture)
    for row, by_row in weights.items():
        for col, by_col in weights.items():
            shifted = padded[1 + row : 1 + row + picture.shape[0], 1 + col : 1 + col + picture.shape[1]]
            found += by_row * by_col / total * shifted
    return found
