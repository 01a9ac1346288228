"""Every code that a finding in a topology file may have, with what it stands for. Stable: programs may rely on them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

CODES: Mapping[str, str] = MappingProxyType(
    {
        # reading the file
        "unreadable": "A file is missing, a folder, not permitted, or external and not there.",
        "not_utf8": "The file is binary, or text in another encoding than UTF-8.",
        "empty": "The file has no content.",
        "too_large": "The file, or what its aliases expand to, or the number of files is over a limit.",
        "too_deep": "Values are nested too deep.",
        "syntax": "The text is not YAML, or in a .json file not JSON.",
        "tab": "A tab stands in the indentation.",
        "second_colon": "A value holds `: ` and is not quoted.",
        "unquoted_placeholder": "`${…}` stands without quotes between brackets.",
        "tag": "A YAML tag, or a bare `!`.",
        "unknown_anchor": "An alias has no anchor above it, or stands inside its own.",
        "bad_merge": "`<<` has something else than mappings.",
        "bad_key": "A key is a list or a mapping.",
        "duplicate_key": "A key, or the name of an object or process, is given twice.",
        # keys and values
        "unknown_key": "A key that means nothing in its place.",
        "missing_key": "A key that is needed is not there.",
        "wrong_type": "A value of another type than the key takes.",
        "bad_value": "A value that the key does not know.",
        "bad_version": "`version` is not 1.",
        "bad_size": "A size that cannot be read.",
        "bad_duration": "A duration that cannot be read.",
        "bad_mode": "Permissions that are not octal, or not unmistakably so.",
        "bad_name": "A name that is too long, has letters it may not have, or is taken.",
        "leading_zero": "A number such as 0600, octal to some readers and decimal to others.",
        "out_of_range": "A number beyond what makes sense, or content larger than its segment.",
        "contradiction": "Two keys that do not go together.",
        "shell_syntax": "A command that only a shell could run.",
        # variables and placeholders
        "undefined_variable": "A variable has no value.",
        "unknown_variable": "--set names a variable that the file does not have.",
        "bad_substitution": "A `${…}` that is not understood.",
        "bad_placeholder": "A placeholder in the wrong place, of the wrong section, or for a field the object lacks.",
        "not_in_uses": "A placeholder of an object that the process does not use.",
        # the file as a whole
        "unknown_name": "Something refers to an object, process, user or group that does not exist.",
        "duplicate_name": "Two objects have the same name, path or System V key.",
        "bad_access": "An access that an object of this kind does not have.",
        "cycle": "Processes wait for each other, or a file includes itself.",
        "never_happens": "A process waits for what cannot be, such as the end of a service.",
        "unreachable": "An object that an isolated run or process could not reach.",
        # this host
        "executable": "A program is missing or cannot be executed.",
        "interpreter": "The interpreter in the first line of a script is missing.",
        "directory": "A folder is missing or cannot be used.",
        "limit": "The kernel, or a file system, does not allow that much.",
        "no_dev_shm": "The file system behind POSIX shared memory and semaphores, /dev/shm, is missing.",
        "module": "The module of a function is missing.",
        "privilege": "Only root, or a process with a certain capability or limit, may do that.",
        # warnings
        "endless": "A process that keeps the run from ending, or that waits for a person.",
        "pointless": "A condition that always holds, or an input that is torn apart.",
        "unused": "An object that no process uses.",
        "one_sided": "A queue or pipe with only readers, or only writers.",
    }
)
