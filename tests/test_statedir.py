"""Where state lives, and who may touch it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from orchestra.errors import StateError
from orchestra.statedir import (
    SOCKET_PATH_MAX,
    StateDir,
    is_locked,
    new_token,
    private_folder,
    take_lock,
    wait_until_free,
)


def test_our_own_variable_wins() -> None:
    place = StateDir.locate({"ORCHESTRA_HOME": "/srv/o", "XDG_STATE_HOME": "/x", "XDG_RUNTIME_DIR": "/r"})
    assert (place.home, place.runtime) == (Path("/srv/o"), Path("/srv/o/run"))


def test_xdg_is_next() -> None:
    place = StateDir.locate({"XDG_STATE_HOME": "/x", "XDG_RUNTIME_DIR": "/r", "HOME": "/h"})
    assert (place.home, place.runtime) == (Path("/x/orchestra"), Path("/r/orchestra"))


def test_relative_xdg_values_are_ignored() -> None:
    place = StateDir.locate({"XDG_STATE_HOME": "x", "XDG_RUNTIME_DIR": "r", "HOME": "/h"})
    assert place.home == Path("/h/.local/state/orchestra")
    assert place.runtime == Path(f"/tmp/orchestra-{os.getuid()}")


def test_folders_are_private(tmp_path: Path) -> None:
    place = StateDir.locate({"ORCHESTRA_HOME": str(tmp_path / "o")})
    place.create()
    assert {folder.stat().st_mode & 0o777 for folder in (place.home, place.runtime)} == {0o700}


def test_a_folder_others_can_enter_is_closed(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    private_folder(tmp_path)
    assert tmp_path.stat().st_mode & 0o777 == 0o700


def test_a_file_in_the_way_is_an_error_with_words(tmp_path: Path) -> None:
    (tmp_path / "o").write_text("")
    with pytest.raises(StateError, match=r"cannot use|not a folder"):
        private_folder(tmp_path / "o")


def test_a_link_to_a_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "o").symlink_to(tmp_path / "real")
    with pytest.raises(StateError, match="not a folder"):
        private_folder(tmp_path / "o")


def test_a_long_socket_path_is_hashed_so_that_it_fits(tmp_path: Path) -> None:
    place = StateDir(tmp_path, tmp_path / ("d" * 120))
    path = place.socket("pipeline")
    assert len(os.fsencode(path)) <= SOCKET_PATH_MAX
    assert path != StateDir(tmp_path, tmp_path / ("e" * 120)).socket("pipeline")


def test_the_lock_decides_who_is_live(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    assert not is_locked(path)
    fd = take_lock(path)
    assert fd is not None
    assert is_locked(path)
    assert take_lock(path, tries=1) is None
    os.close(fd)
    assert not is_locked(path)


def test_the_lock_is_free_once_its_holder_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    code = "import sys; from pathlib import Path; from orchestra.statedir import take_lock\n"
    code += "take_lock(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert is_locked(path)
        holder.kill()
        holder.wait()
    assert not is_locked(path)


def test_a_thread_can_wait_until_the_lock_is_free(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    wait_until_free(path)  # no such file: nobody holds it
    fd = take_lock(path)
    assert fd is not None
    copy = os.dup(fd)
    waiting = threading.Thread(target=wait_until_free, args=(path,))
    waiting.start()
    os.close(fd)  # who inherited it holds it still
    waiting.join(0.05)
    assert waiting.is_alive()
    os.close(copy)
    waiting.join(30)
    assert not waiting.is_alive()
    again = take_lock(path)
    assert again is not None
    os.close(again)


def test_tokens_are_words_that_fit_every_name() -> None:
    tokens = {new_token() for _ in range(1000)}
    assert len(tokens) == 1000
    assert all(len(token) == 8 and token.isalnum() for token in tokens)
