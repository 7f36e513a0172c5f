import json
import os
import subprocess
import sys

import pytest


def test_help_answers_without_loading_tensorflow():
    probe = (
        "import sys; sys.argv = ['convoy', '--help']\n"
        "from jobs.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'tensorflow', 'keras', 'numpy', 'pydantic', 'grpc'} & set(sys.modules)\n"
        "print('heavy:', sorted(heavy))"
    )
    result = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True)
    assert "heavy: []" in result.stdout
    assert "run" in result.stdout


def test_config_schema_is_json_that_describes_every_field(forkserver):
    schema = json.loads(forkserver.run("-m", "jobs", "config", "schema").stdout)
    assert set(schema["properties"]) >= {"name", "data", "model", "train", "bless", "publish"}
    for definition in schema["$defs"].values():
        for name, field in definition["properties"].items():
            assert field.get("description"), f"{definition['title']}.{name} gives no reason"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "none.toml"], "no job file none.toml"),
        (["run"], "expected either a job file or --resume RUN"),
        (["run", "--resume", "nowhere"], "nowhere is no run"),
        (["evaluate", "nowhere"], "nowhere is no run"),
        (["predict", "--model", "m", "missing.png"], "cannot read missing.png"),
        (["models", "rollback", "m", "--store", "."], "m"),
    ],
)
def test_wrong_use_ends_with_code_2_and_one_line(forkserver, arguments, message, tmp_path):
    result = forkserver.run("-m", "jobs", *arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_file_that_is_no_image_is_named_before_anything_is_sent(workplace):
    (workplace.path / "note.png").write_text("text")
    result = workplace("predict", "--model", "m", "note.png")
    assert result.returncode == 2
    assert "note.png is no image: expected one of JPEG, PNG, BMP, GIF, WebP" in result.stderr


def test_a_server_that_is_not_there_is_named(workplace):
    from PIL import Image

    Image.new("L", (4, 4)).save(workplace.path / "a.png")
    result = workplace("predict", "--model", "m", "--address", "localhost:1", "a.png")
    assert result.returncode == 1
    assert "localhost:1" in result.stderr
    assert "Traceback" not in result.stderr
    assert os.linesep not in result.stderr.strip()
