import sys
import types

sys.dont_write_bytecode = True
sys.path[0] = '/dev/fd/5'
package = types.ModuleType('ansible')
package.__path__ = ['/dev/fd/5/ansible', '/dev/fd/5']
package.__file__ = '/dev/fd/5/ansible/__init__.py'
sys.modules['ansible'] = package
from ansible.module_utils import basic

with open('/dev/fd/4', 'rb') as args:
    basic._ANSIBLE_ARGS = args.read()
basic._ANSIBLE_PROFILE = 'legacy'
with open('/dev/fd/6', 'rb') as module:
    code = compile(module.read(), sys.argv[1], 'exec')
del sys.argv[1:]
exec(code, {'__name__': '__main__', '__file__': sys.argv[0]})
