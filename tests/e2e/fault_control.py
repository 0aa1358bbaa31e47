"""The control files of fault points (common/fault.c): what each process of an installation passed, and what it is to suffer."""
import mmap
import struct
import subprocess
from pathlib import Path

HEAD = struct.Struct("<IIIIiI")  # magic, points, armed (from 1), kind, countdown, fired
HEAD_BYTES = 64
ENTRY = struct.Struct("<56s16sII")  # name, effect, kinds, hits
MAGIC = 0x31464C52
KINDS = {"kill": 1, "stop": 2, "fail": 4, "lost": 8}


def points_of(program):
    """What a program of VARIANT=fault says of itself: {name: (effect, kinds)}."""
    text = subprocess.run([program, "--fault-points"], capture_output=True, text=True, check=True, timeout=30).stdout
    return {w[0]: (w[1], w[2:]) for w in (line.split() for line in text.splitlines())}


class Control:
    """One process's file. It stays through restarts of the process, and so does what was armed until it has fired."""

    def __init__(self, folder, process):
        self.process = process
        with open(Path(folder) / process, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), 0)
        magic, n = HEAD.unpack_from(self.map)[:2]
        assert magic == MAGIC, process
        self.points = {}
        for i in range(n):
            name, effect, kinds, _ = ENTRY.unpack_from(self.map, HEAD_BYTES + i * ENTRY.size)
            name = name.rstrip(b"\0").decode()
            assert name not in self.points, f"two points {name}"
            self.points[name] = (i, effect.rstrip(b"\0").decode(), [k for k, bit in KINDS.items() if kinds & bit])

    def hits(self):
        """How often each point was passed: {name: times}."""
        return {n: ENTRY.unpack_from(self.map, HEAD_BYTES + i * ENTRY.size)[3] for n, (i, _, _) in self.points.items()}

    def arm(self, name, kind, nth=1):
        """The nth pass from now on."""
        struct.pack_into("<I", self.map, 8, 0)
        struct.pack_into("<Ii", self.map, 12, KINDS[kind], nth)
        struct.pack_into("<I", self.map, 8, self.points[name][0] + 1)

    def disarm(self):
        struct.pack_into("<I", self.map, 8, 0)

    @property
    def fired(self):
        return struct.unpack_from("<I", self.map, 20)[0]
