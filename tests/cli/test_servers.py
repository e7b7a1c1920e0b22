"""The commands that serve: for a port or a file that cannot be used they print one line, with exit code 2."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.cli.__main__ import main
from tests.support.crm import Crm


@pytest.fixture
def taken() -> Iterator[str]:
    """A port that another program listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield str(server.getsockname()[1])


def test_taken_port_is_refused_in_one_line(synced_crm: Crm, taken: str, capsys: pytest.CaptureFixture[str]) -> None:
    answer = f"insightly: --port is {taken}: Address already in use; choose another port, or 0 for a free one\n"
    for command in (["sandbox", "--scale", "0.005"], ["dashboard", "--no-browser", *synced_crm.arguments()]):
        assert main([*command, "--port", taken]) == 2
        assert capsys.readouterr() == ("", answer)


@pytest.mark.parametrize("command", ["sandbox", "dashboard"])
@pytest.mark.parametrize("port", ["65536", "-1", "http"])
def test_impossible_port_is_refused_in_one_line(command: str, port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        main([command, f"--port={port}"])
    assert exited.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"--port: must be a number from 0 to 65535, not {port!r}" in line


@pytest.mark.parametrize(("text", "words"), [(None, "No such file or directory"), ("{", "line 1"), ("{}", "array")])
def test_faults_that_cannot_be_read_are_refused_in_one_line(
    text: str | None, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "faults.json"
    if text is not None:
        script.write_text(text, encoding="utf-8")
    assert main(["sandbox", "--port", "0", "--faults", str(script)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"insightly: --faults is {str(script)!r}: ")
    assert words in line
