#!/usr/bin/env python3
"""MLPerf Tiny's keyword features from sound, and sound from published features.

    python3 tests/keyword_sound.py features SOUND.npy FEATURES.npy
    python3 tests/keyword_sound.py sound KWS01.npz COUNT SOUND.npy

`features` computes what `get_dataset.py` of MLPerf Tiny does in TensorFlow, in double precision: SOUND is int16 [clips, 16000],
FEATURES is int8 [clips, 49, 10, 1] with the published scale, zero point and rounding (towards zero).

`sound` goes the other way, for the utterances whose features are published and whose sound is not: it looks for one second
whose features are the published ones, by descent through the front end from noise of the right spectrum. It sounds like a
whisper, and a front end that is right finds the published features in it. Needs numpy.
"""
import sys

import numpy as np

SCALE, ZERO = 0.5847029089927673, 83
RATE, HOP, FRAME, FRAMES, POINTS, BANDS, COEFFICIENTS = 16000, 320, 480, 49, 512, 40, 10
PEAK = 32767


def mel_matrix():
    """As tf.signal.linear_to_mel_weight_matrix, 20 Hz to 4 kHz."""
    mel = lambda hertz: 1127 * np.log1p(hertz / 700)
    bins = mel(np.linspace(0, RATE / 2, POINTS // 2 + 1))[:, None]
    edges = np.linspace(mel(20.0), mel(4000.0), BANDS + 2)
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    weights = np.maximum(0, np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre)))
    weights[0] = 0
    return weights


HANN = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FRAME) / FRAME)
MEL = mel_matrix()
BAND = np.arange(BANDS)[:, None]
DCT = 2 * np.cos(np.pi * np.arange(COEFFICIENTS) * (2 * BAND + 1) / (2 * BANDS)) / np.sqrt(2 * BANDS)


def frames(x):
    return np.lib.stride_tricks.sliding_window_view(x, FRAME, axis=-1)[:, ::HOP][:, :FRAMES]


def features(sound):
    x = sound.astype(np.float64)
    x /= np.maximum(x.max(axis=1, keepdims=True), 1)
    magnitudes = np.abs(np.fft.rfft(frames(x) * HANN, POINTS))
    return np.log(magnitudes @ MEL + 1e-6) @ DCT


def quantize(reals):
    return np.clip(np.trunc(reals / SCALE + ZERO), -128, 127).astype(np.int8)


def overlap_add(parts):
    x = np.zeros((len(parts), RATE))
    for t in range(FRAMES):
        x[:, HOP * t : HOP * t + FRAME] += parts[:, t]
    return x


def find_sound(published, seed, steps=100, rate=0.03):
    """int16 [clips, 16000] for int8 [clips, 49, 10]."""
    rng = np.random.default_rng(seed)
    q = published.astype(np.float64)
    # The middle of the reals that are rounded to it.
    target = (q + 0.5 * np.sign(q) - ZERO) * SCALE
    levels = np.exp(target @ np.linalg.pinv(DCT))
    spread = MEL / np.maximum(MEL.sum(axis=0), 1e-9)
    magnitudes = np.maximum(levels @ spread.T, 0)
    phases = np.exp(2j * np.pi * rng.random(magnitudes.shape))
    # The envelope is fixed and what is under it is found, so that quiet frames move as fast as loud ones.
    x = overlap_add(np.fft.irfft(magnitudes * phases, POINTS)[..., :FRAME] * HANN)
    level = np.sqrt(overlap_add(np.broadcast_to((magnitudes**2).mean(axis=-1, keepdims=True), (*magnitudes.shape[:2], FRAME))))
    envelope = np.maximum(level / level.max(axis=1, keepdims=True), 2 / PEAK)
    loudest = HOP * np.argmax(target[:, :, 0], axis=1) + FRAME // 2
    clip = np.arange(len(x))
    # The reference divides by the greatest sample: it stays 1, where the clip is loudest.
    x = np.clip(x / np.abs(x).max(axis=1, keepdims=True), -1, 1)
    u = x / envelope
    mean, square = np.zeros_like(u), np.zeros_like(u)
    best, least = None, np.full(len(u), np.inf)
    for step in range(1, steps + 1):
        x = np.clip(u * envelope, -1, 1)
        x[clip, loudest] = 1
        u = x / envelope
        spectrum = np.fft.rfft(frames(x) * HANN, POINTS)
        size = np.abs(spectrum)
        bands = size @ MEL + 1e-6
        error = np.log(bands) @ DCT - target
        loss = (error**2).mean(axis=(1, 2))
        better = loss < least
        best = x.copy() if best is None else np.where(better[:, None], x, best)
        least = np.minimum(loss, least)
        back = ((error @ DCT.T) / bands) @ MEL.T
        back = back * spectrum / np.maximum(size, 1e-12)
        # The adjoint of a real transform: its inverse, with the bins inside counted once.
        back[..., 1:-1] /= 2
        gradient = overlap_add(np.fft.irfft(back, POINTS)[..., :FRAME] * POINTS * HANN) * envelope
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.99 * square + 0.01 * gradient**2
        fall = rate * 0.5 * (1 + np.cos(np.pi * step / steps))
        u = u - fall * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.99**step)) + 1e-12)
    return np.round(best * PEAK).astype(np.int16)


def main(what, source, *rest):
    if what == "features":
        found = quantize(features(np.load(source)))
        np.save(rest[0], found[..., None])
        return
    count = int(rest[0])
    published = np.load(source)["x"][:count, :, :, 0]
    sound = [find_sound(published[i : i + 100], seed=i) for i in range(0, count, 100)]
    np.save(rest[1], np.concatenate(sound))


if __name__ == "__main__":
    if len(sys.argv) < 4 or sys.argv[1] not in ("features", "sound"):
        sys.exit(__doc__)
    main(*sys.argv[1:])
