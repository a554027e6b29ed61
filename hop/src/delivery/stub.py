import os, sys, zlib
n, g, w, m, i = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4], sys.argv[5]
def fail(why):
    os.write(1, b"WAFT1-FAIL " + os.fsencode(why) + bytes([10]))
    os._exit(70)
b = []
while n > 0:
    r = os.read(0, min(n, 65536))
    if len(r) == 0:
        fail("short")
    b.append(r)
    n -= len(r)
b = b"".join(b)
if g == "1":
    b = zlib.decompress(b, 31)
def put(f):
    v = memoryview(b)
    while len(v):
        v = v[os.write(f, v):]
for flag in (17, 1):
    try:
        f = os.memfd_create("waft-stub", flag)
        put(f)
        os.execv("/proc/self/fd/%d" % f, ["waft-stub", "--link", "memfd"])
    except (OSError, AttributeError):
        pass
if w == "mem":
    fail("memfd the kernel refused it")
l = ""
for d in sys.argv[6:]:
    if len(d) == 0:
        continue
    l += " " + d
    t = "%s/.waft-%s-%d" % (d, i, os.getpid())
    try:
        f = os.open(t, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o700)
        put(f)
        os.close(f)
        os.execv(t, ["waft-stub", "--link", "dir:" + d])
    except OSError:
        try:
            os.unlink(t)
        except OSError:
            pass
fail("dir" + l)
