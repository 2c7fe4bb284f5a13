"""corec.config.servers: secrets, placeholders, and a node that cannot use servers yet."""

import json

import msgspec
import pytest

from corec.config import load, parse
from corec.config.connections import DbSection, RedisSection
from corec.config.document import Document
from corec.config.servers import Secret, resolve_db, resolve_redis
from corec.errors import ConfigError
from tests.support.config_samples import CONFIGS, block, node, text_of

DOCUMENTED = (CONFIGS / "servers" / "corec_config.json").read_text(encoding="utf-8")


def redis(tmp_path, **keys):
    """The resolved section of these keys."""
    tree = {"redis_config": keys}
    return resolve_redis(Document(tree, "c.json"), RedisSection(**keys), tmp_path)


def refused(tmp_path, **keys):
    """The error that a redis_config of these keys gives."""
    with pytest.raises(ConfigError) as caught:
        redis(tmp_path, **keys)
    return caught.value


def test_documented_file_is_refused_by_its_placeholder():
    # Given the documented file as printed, when it is read, then the placeholder is named
    with pytest.raises(ConfigError) as caught:
        load(CONFIGS / "servers")
    assert (
        'got the placeholder "your_real_password" - at $.db_config.password (line 6)'
        in caught.value.text
    )
    assert "password_file" in caught.value.hint
    assert "--embedded" in caught.value.hint


def test_both_placeholders_are_found():
    with pytest.raises(ConfigError, match='the placeholder "your_real_redis_password"'):
        parse(DOCUMENTED.replace("your_real_password", "x"))


def test_embedded_ignores_both_sections_whatever_they_hold():
    for section in ({}, {"password": "your_real_password"}, {"pasword": 1}, "none", None):
        config = parse(node(db_config=section, redis_config=section, celery_config=section), embedded=True)
        assert (config.db_config, config.redis_config, config.celery_config) == (None, None, None)


def test_embedded_still_refuses_a_typo_of_the_section():
    with pytest.raises(ConfigError, match='got "db_confg"'):
        parse(node(db_confg={}), embedded=True)


def test_null_sections_name_no_server():
    assert parse(node(db_config=None, redis_config=None)).db_config is None


@pytest.mark.parametrize("port", [6380, "6380", "${COREC_TEST_PORT}", "${COREC_TEST_NONE:-6380}"])
def test_port_is_a_number_or_a_string(tmp_path, monkeypatch, port):
    monkeypatch.setenv("COREC_TEST_PORT", "6380")
    assert redis(tmp_path, port=port).port == 6380


@pytest.mark.parametrize("port", ["1", "65535", "06379"])
def test_port_at_either_end_is_accepted(tmp_path, port):
    assert redis(tmp_path, port=port).port == int(port)


@pytest.mark.parametrize("port", ["0", "65536", "99999", "x", "", "6379 ", "-1", "٣"])
def test_port_that_is_none_is_refused(port):
    for name in ("db_config", "redis_config"):
        with pytest.raises(ConfigError, match=rf"expected a port .* - at \$\.{name}\.port"):
            parse(json.dumps(node(**{name: {"port": port}})))


def test_port_from_the_environment_is_checked(tmp_path, monkeypatch):
    monkeypatch.setenv("COREC_TEST_PORT", "many")
    assert (
        'expected a port from 1 to 65535, got "many"'
        in refused(tmp_path, port="${COREC_TEST_PORT}").text
    )


def test_defaults_of_both_sections(tmp_path):
    found = redis(tmp_path)
    assert (found.host, found.port, found.username, found.password) == (
        "localhost",
        6379,
        None,
        None,
    )
    db = resolve_db(Document({}, "c.json"), DbSection(), tmp_path)
    assert (db.dbname, db.user, db.host, db.port, db.password) == (
        "corec_db",
        "postgres",
        "localhost",
        5432,
        None,
    )


def db(tmp_path, **keys):
    """The resolved db_config of these keys."""
    section = msgspec.convert(keys, DbSection)
    return resolve_db(Document({"db_config": keys}, "c.json"), section, tmp_path)


def test_replica_is_as_the_primary_but_for_what_it_names(tmp_path):
    # Given a replica that names its place alone, when the section is read, then user, password and database are the primary's
    found = db(tmp_path, user="writer", password="s3cret", dbname="d", replica={"host": "copy", "port": 5433}).replica
    assert (found.host, found.port, found.user, found.dbname) == ("copy", 5433, "writer", "d")
    assert found.password.reveal() == "s3cret"
    own = db(tmp_path, user="writer", password="s3cret", replica={"user": "reader", "password": "other"}).replica
    assert (own.user, own.password.reveal()) == ("reader", "other")
    assert db(tmp_path).replica is None


def test_placeholder_of_the_replica_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"at \$\.db_config\.replica\.password"):
        db(tmp_path, replica={"password": "your_password"})


def test_channels_with_partitions_of_their_own_are_in_order_and_once(tmp_path):
    assert db(tmp_path, particion_canales=[5, 2, 5]).particion_canales == (2, 5)


def test_certificate_is_looked_for_beside_the_configuration(tmp_path):
    assert db(tmp_path, sslmode="verify-full", sslrootcert="ca.pem").sslrootcert == str(tmp_path / "ca.pem")


def test_empty_user_is_none(tmp_path):
    assert redis(tmp_path, username="").username is None
    assert redis(tmp_path, username="corec").username == "corec"


def test_password_comes_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("COREC_TEST_PASSWORD", "s3cret")
    assert redis(tmp_path, password="${COREC_TEST_PASSWORD}").password.reveal() == "s3cret"
    assert redis(tmp_path, password="a${COREC_TEST_PASSWORD}b").password.reveal() == "as3cretb"


@pytest.mark.parametrize("password", ["$x", "${", "${1}", "a$b{c}", "100%"])
def test_password_that_only_looks_like_a_variable_is_itself(tmp_path, password):
    assert redis(tmp_path, password=password).password.reveal() == password


@pytest.mark.parametrize("value", [None, ""])
def test_variable_that_is_not_set_is_named(tmp_path, monkeypatch, value):
    monkeypatch.delenv("COREC_TEST_PASSWORD", raising=False)
    if value is not None:
        monkeypatch.setenv("COREC_TEST_PASSWORD", value)
    error = refused(tmp_path, password="${COREC_TEST_PASSWORD}")
    assert error.text == (
        "c.json: expected the environment variable COREC_TEST_PASSWORD, got none"
        " - at $.redis_config.password"
    )
    assert "export COREC_TEST_PASSWORD" in error.hint


def test_variable_with_an_empty_default_may_be_unset(tmp_path):
    assert redis(tmp_path, password="${COREC_TEST_NONE:-}").password is None


def test_password_comes_from_a_file_beside_the_configuration(tmp_path):
    (tmp_path / "redis.secret").write_text("s3cret\n")
    assert redis(tmp_path, password_file="redis.secret").password.reveal() == "s3cret"
    absolute = str(tmp_path / "redis.secret")
    assert redis(tmp_path, password_file=absolute).password.reveal() == "s3cret"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no such file or directory"),
        (b"", "an empty file"),
        (b"\n", "an empty file"),
        (b"\xff\xfe", "no utf-8 text"),
        (b"your_real_redis_password", 'the placeholder "your_real_redis_password"'),
    ],
)
def test_password_file_without_a_password_is_refused(tmp_path, content, said):
    if content is not None:
        (tmp_path / "redis.secret").write_bytes(content)
    error = refused(tmp_path, password_file="redis.secret")
    assert said in error.text
    assert "$.redis_config.password_file" in error.text


def test_password_has_one_source(tmp_path):
    (tmp_path / "redis.secret").write_text("s3cret")
    error = refused(tmp_path, password="other", password_file="redis.secret")
    assert "expected one source of the password" in error.text


@pytest.mark.parametrize("password", ["secure_password", "your", "yourself", "Your_Pass1"])
def test_password_that_is_no_placeholder_is_taken(tmp_path, password):
    assert redis(tmp_path, password=password).password.reveal() == password


def test_placeholder_in_the_environment_is_refused_too(tmp_path, monkeypatch):
    monkeypatch.setenv("COREC_TEST_PASSWORD", "your_password")
    assert "the placeholder" in refused(tmp_path, password="${COREC_TEST_PASSWORD}").text


def test_secret_is_shown_by_reveal_alone(tmp_path):
    found = redis(tmp_path, password="s3cret")
    for text in (repr(found), str(found), repr(found.password), f"{found.password}"):
        assert "s3cret" not in text
    assert repr(Secret("s3cret")) == "Secret('***')"
    assert "s3cret" not in repr(DbSection(password="s3cret"))


@pytest.mark.parametrize(
    "section",
    [
        {"password": 31337},
        {"password": ["31337"]},
        "postgres://u:31337@h/d",
        {"password": "31337", "port": 0},
        {"pasword": "31337"},
    ],
)
def test_no_error_shows_a_secret(section):
    for name in ("db_config", "redis_config"):
        with pytest.raises(ConfigError) as caught:
            parse(text_of(node(block(), **{name: section})))
        assert "31337" not in str(caught.value)
