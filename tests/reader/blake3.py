"""The blake3 hash (unkeyed, 32 bytes), as its specification describes it. Made to be read, not to be fast."""

import struct

IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
SHUFFLE = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
# Which four words of the state one step mixes: the columns first, then the diagonals.
STEPS = ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
         (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14))
ROUNDS = 7
CHUNK_BYTES = 1024
BLOCK_BYTES = 64
CHUNK_START, CHUNK_END, PARENT, ROOT = 1, 2, 4, 8
WORD = 0xFFFFFFFF


def compress(chaining, block, counter, length, flags):
    """Eight words out of eight words and a block of 64 bytes."""
    state = [*chaining, *IV[:4], counter & WORD, counter >> 32, length, flags]
    words = struct.unpack("<16I", block)
    for _ in range(ROUNDS):
        for step, (ia, ib, ic, id_) in enumerate(STEPS):
            a, b, c, d = state[ia], state[ib], state[ic], state[id_]
            a = (a + b + words[2 * step]) & WORD
            d ^= a
            d = (d >> 16 | d << 16) & WORD
            c = (c + d) & WORD
            b ^= c
            b = (b >> 12 | b << 20) & WORD
            a = (a + b + words[2 * step + 1]) & WORD
            d ^= a
            d = (d >> 8 | d << 24) & WORD
            c = (c + d) & WORD
            b ^= c
            b = (b >> 7 | b << 25) & WORD
            state[ia], state[ib], state[ic], state[id_] = a, b, c, d
        words = [words[index] for index in SHUFFLE]
    return [low ^ high for low, high in zip(state[:8], state[8:])]


def chunk(data, counter, root):
    """The chaining value of one chunk of at most 1024 bytes."""
    chaining = IV
    blocks = max(1, -(-len(data) // BLOCK_BYTES))
    for index in range(blocks):
        block = data[index * BLOCK_BYTES:(index + 1) * BLOCK_BYTES]
        flags = CHUNK_START if index == 0 else 0
        if index == blocks - 1:
            flags |= CHUNK_END | root
        chaining = compress(chaining, block.ljust(BLOCK_BYTES, b"\0"), counter, len(block), flags)
    return chaining


def tree(data, counter, root):
    """The chaining value of a subtree; the left half is the largest full one that leaves a rest."""
    if len(data) <= CHUNK_BYTES:
        return chunk(data, counter, root)
    chunks = -(-len(data) // CHUNK_BYTES)
    left = 1 << ((chunks - 1).bit_length() - 1)
    both = tree(data[:left * CHUNK_BYTES], counter, 0) + tree(data[left * CHUNK_BYTES:], counter + left, 0)
    return compress(IV, struct.pack("<16I", *both), 0, BLOCK_BYTES, PARENT | root)


def blake3(data):
    return struct.pack("<8I", *tree(bytes(data), 0, ROOT))
