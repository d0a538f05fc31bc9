# Turns a NoCloud seed into lines for `first-boot`, fields separated by U+001F: one run of jq does it all, because each
# start of jq takes 0.4 s under TCG. Everything that goes into /etc/passwd and the like is checked or cleaned here.
#   instance ID | hostname NAME | user NAME SHELL GECOS | group USER GROUP | key USER LINE | error TEXT | recoverable JSON
# $shells: the contents of /etc/shells.

def parse: try {value: (fromjson | if type == "object" then . else error("not a mapping") end)} catch {error: .};
def clean: tostring | gsub("[\u0000-\u001f\u007f]"; " ");
def listed: if . == null then [] elif type == "string" then split(",") else . end | map(tostring | gsub("^ +| +$"; ""));
def is_name: type == "string" and test("\\A[a-z_][a-z0-9_-]{0,31}\\z");

def user_lines:
    if . == "default" then ["ignored", "users: default, this image has no default user"]
    else
        (if type == "object" then . else {name: .} end)
        | if (.name | is_name | not) then ["error", "users: \(.name | tojson) is no valid name"]
        else
            .name as $name
            | (.shell // "/bin/sh") as $shell
            | (($shells | split("\n") | index($shell)) != null) as $has_shell
            | ["user", $name, (if $has_shell then $shell else "/bin/sh" end), (.gecos // "" | gsub(":"; " "))],
              (if $has_shell then empty else ["ignored", "users: \($shell) for \($name), who gets /bin/sh"] end),
            (.groups | listed[] | if is_name then ["group", $name, .] else ["error", "users: group \(tojson)"] end),
            (.ssh_authorized_keys // [] | .[] | ["key", $name, .]),
            # no sudo here, so that asking for none is fulfilled
            (del(.name, .shell, .gecos, .groups, .lock_passwd, .ssh_authorized_keys)
                | if .sudo then . else del(.sudo) end | keys_unsorted[] | ["ignored", "users: \(.) of \($name)"])
        end
    end;

[ ($meta_data | parse) as $meta
| ($user_data
    | if startswith("#cloud-config") | not then {error: "does not begin with #cloud-config"}
      else sub("\\A[^\n]*\n?"; "") | if test("\\A\\s*\\z") then {value: {}} else parse end
      end) as $user
| if $meta.error then ["error", "meta-data: \($meta.error); this image reads JSON only"]
  elif $user.error then ["error", "user-data: \($user.error); this image reads JSON only"]
  elif ($meta.value."instance-id" // "") == "" then ["error", "meta-data: no instance-id"]
  else
    ["instance", $meta.value."instance-id"],
    (($user.value.hostname // $meta.value."local-hostname" // empty)
        | if type == "string" and test("\\A[A-Za-z0-9][A-Za-z0-9.-]{0,63}\\z") then ["hostname", .]
          else ["error", "hostname: \(tojson) is no valid name"] end),
    ($user.value.users // [] | .[] | user_lines),
    # dropbear takes everybody's passwords and lets root in by no means
    ($user.value | del(.hostname, .users)
        | if .ssh_pwauth == true then del(.ssh_pwauth) else . end
        | if .disable_root == true then del(.disable_root) else . end
        | keys_unsorted[] | ["ignored", .])
  end
] as $lines
| ($lines | map(select(.[0] == "ignored") | "not supported by this image: " + .[1])) as $ignored
| ($lines[] | select(.[0] != "ignored")),
  ["recoverable", (if $ignored == [] then {} else {WARNING: $ignored} end | tojson)]
| map(clean) | join("\u001f")
