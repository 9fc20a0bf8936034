"""A list compiled once into one read-only file that every process and lane maps and asks; pure but for the map.

Theory. A name is looked up by the integer that its wire bytes spell (lower case, big-endian), taken modulo a prime of
30 bits that is drawn anew for each image and never leaves the machine (Karp and Rabin, 1987). Two names agree with a
chance below 1 in 300,000, since their difference has at most 70 such primes among its divisors and there are 26 million
of them; so nobody can register or ask for names that crowd one place of the table. It was chosen over SipHash and
BLAKE2 because a compiled lane gets the hashes of a name and all its parents in one pass from the right, a
multiplication an octet, and Python gets one from two operations. No verdict rests on it: names are compared whole.

    head        512 octets: "BLOCKIMG", version u32 (2), order u32 (0x01020304), the file's size u64, prime u64, what
                it was made from (32 octets), checksum of all after the head (BLAKE2b, 32 octets), offset and size (u64)
                of each `form.Section`, zeros; the last 32 are the checksum of those before. Sections begin at multiples
                of 64 octets
    hash        h = int(name) mod prime
    filter      2**k bits; bit h mod 2**k (bit b & 7 of octet b >> 3) is set, or the name is not there; of those that
                are not there 4 to 8 in 100 pass
    table       m = ((h xor (h >> 15)) * 0x9E3779B97F4A7C15 mod 2**64) >> 32;
                bucket (m * buckets) >> 32 is 64 octets, one cache line:
                    12 tags (u8: (m mod 255) + 1, 0 is free), 12 places (u32, from the start of the records),
                    u32, not 0 if a name of this bucket stands in a later one (wrapping), where the search goes on
    record      value (u64: entry number << 24 | index of its ground), then the wire name; its root ends it
    ground      expiry u32 (hours; holds while hour < expiry; 2**32 - 1 never), action u8, category u8 (255 none), flags
                u16, data u32 and decision u32 (numbers of texts). Flags, the last three being of foreign zones:
                    1  counted: stays not out of the counters, as canaries and exceptions do
                    2  below (only in the table of subtrees): the rule holds for names below its own; its own name
                       matches nothing, and the search of this image's subtrees ends there
                    4  stop (only there): no rule; whatever name leads to it, itself or one below it, matches
                       nothing, and the search of this image's subtrees ends there
                    8  records: the text of data is base64 of what to answer: of each record type u16, TTL u32 and
                       size u16 (big-endian), then its RDATA; a CNAME stands alone, and a first label `*` of its
                       target stands for the whole name asked for
                An image's search begins with the exact name; below and stop are met only if that has no rule in force
    text        text i is the UTF-8 between starts i and i + 1 (u32) of the texts
    prefixes    by family, as spans: their first addresses (4 or 16 octets, big-endian, rising), and of each the rule
                (u32, 2**32 - 1 none) that is nearest; a rule is network (16 octets, big-endian), value u64, the next
                wider rule u32 (or none), length u8, three octets unused. Twice: of addresses in answers, and of clients
    about       JSON: whose list it is, how many rules it holds, and what was left out

There are a filter and a table for exact names and a pair for subtrees. Records end with 256 octets of padding, so
that a comparison may run past the last. Numbers are in the machine's own byte order: an image is not carried about.
The checksums find damage, not malice: whoever can write an image where it is looked for could write the rules as well.

    form      the head: sections, checksums; what is damaged, cut or foreign is refused
    building  (target, value) in, a file out, in one pass
    lookup    Image: a mapped file as a layer of a policy
    keeping   images on disk, beside what they were made of, and in sealed memory
"""

from resolver.image.building import build
from resolver.image.form import About, Head, random_prime
from resolver.image.keeping import KEPT_NAME, fetch, freshness, keep, new_memory, seal
from resolver.image.lookup import Image

__all__ = [
    "KEPT_NAME",
    "About",
    "Head",
    "Image",
    "build",
    "fetch",
    "freshness",
    "keep",
    "new_memory",
    "random_prime",
    "seal",
]
