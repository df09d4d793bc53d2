"""`hashwerk passwd`: credentials for a page that listens beyond this machine."""

from __future__ import annotations

import sys

import click

from hashwerk.cli.output import json_option, print_json


@click.command()
@click.option("--token", is_flag=True, help="Make an access token for programs instead of a password hash.")
@json_option
def passwd(token: bool, as_json: bool) -> None:
    """Make a password hash (Argon2) or an access token for the page and the API.

    The password is asked for, or read from standard input when that is not a terminal. Only its hash goes into the site file.

    \b
    Example:
        hashwerk passwd
    """
    from hashwerk.web.auth import hash_password, new_token

    if token:
        secret, hashed = new_token()
        if as_json:
            print_json({"token": secret, "token_hash": hashed})
        else:
            click.echo(f"Give this to the program, it is shown only once:\n  {secret}\n")
            click.echo(f'Add this to the site file:\n  [web]\n  tokens = ["{hashed}"]')
        return
    if sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        password = sys.stdin.readline().rstrip("\n")
    if len(password) < 8:
        raise click.UsageError("a password has at least 8 characters")
    hashed = hash_password(password)
    if as_json:
        print_json({"password_hash": hashed})
    else:
        click.echo(f'Add this to the site file:\n  [web]\n  password_hash = "{hashed}"')
