# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_gatehouse_global_optspecs
    string join \n h/help V/version
end

function __fish_gatehouse_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_gatehouse_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_gatehouse_using_subcommand
    set -l cmd (__fish_gatehouse_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c gatehouse -n "__fish_gatehouse_needs_command" -s h -l help -d 'Print help'
complete -c gatehouse -n "__fish_gatehouse_needs_command" -s V -l version -d 'Print version'
complete -c gatehouse -n "__fish_gatehouse_needs_command" -f -a "bench" -d 'Measure a server: rate, latency, errors'
complete -c gatehouse -n "__fish_gatehouse_needs_command" -f -a "demo" -d 'Start three small origins and a gateway in front of them, to try things on'
complete -c gatehouse -n "__fish_gatehouse_needs_command" -f -a "proxy" -d 'Balance over endpoints with no configuration file'
complete -c gatehouse -n "__fish_gatehouse_needs_command" -f -a "run" -d 'Run the gateway from a configuration file'
complete -c gatehouse -n "__fish_gatehouse_needs_command" -f -a "check" -d 'Say everything that is wrong with a configuration'
complete -c gatehouse -n "__fish_gatehouse_needs_command" -f -a "fmt" -d 'Lay a configuration file out in the one way, comments kept'
complete -c gatehouse -n "__fish_gatehouse_needs_command" -f -a "schema" -d 'Print the JSON Schema of the configuration, for editors'
complete -c gatehouse -n "__fish_gatehouse_needs_command" -f -a "explain" -d 'Say what would become of a request, and why. Nothing is sent'
complete -c gatehouse -n "__fish_gatehouse_needs_command" -f -a "test" -d 'Run the [[expect]] rows of a configuration'
complete -c gatehouse -n "__fish_gatehouse_needs_command" -f -a "health" -d 'Ask a running gateway whether it can serve'
complete -c gatehouse -n "__fish_gatehouse_needs_command" -f -a "status" -d 'Print what a running gateway shows of itself, as JSON'
complete -c gatehouse -n "__fish_gatehouse_needs_command" -f -a "reload" -d 'Have a running gateway read its configuration again'
complete -c gatehouse -n "__fish_gatehouse_needs_command" -f -a "diff" -d 'Say what a reload would change. Nothing is changed'
complete -c gatehouse -n "__fish_gatehouse_needs_command" -f -a "apply" -d 'Put a file in force, for good or on trial'
complete -c gatehouse -n "__fish_gatehouse_needs_command" -f -a "confirm" -d 'Keep what was applied on trial'
complete -c gatehouse -n "__fish_gatehouse_needs_command" -f -a "push" -d 'Write a configuration into a registry, once it has been checked'
complete -c gatehouse -n "__fish_gatehouse_needs_command" -f -a "registry" -d 'Look into ZooKeeper, and write into it'
complete -c gatehouse -n "__fish_gatehouse_needs_command" -f -a "drain" -d 'Give an endpoint no new requests; what it is doing ends'
complete -c gatehouse -n "__fish_gatehouse_needs_command" -f -a "discovery" -d 'Tell a running gateway about the endpoints it finds'
complete -c gatehouse -n "__fish_gatehouse_needs_command" -f -a "undrain" -d 'Give a drained endpoint requests again'
complete -c gatehouse -n "__fish_gatehouse_using_subcommand bench" -l rate -d 'Requests a second, each at its time; without it, a closed loop' -r
complete -c gatehouse -n "__fish_gatehouse_using_subcommand bench" -l duration -d 'How long each target is measured; 10s without it, or as long as --requests take' -r
complete -c gatehouse -n "__fish_gatehouse_using_subcommand bench" -l requests -d 'Measure so many requests of each target at most' -r
complete -c gatehouse -n "__fish_gatehouse_using_subcommand bench" -l connections -d 'Connections at once' -r
complete -c gatehouse -n "__fish_gatehouse_using_subcommand bench" -l warm-up -d 'Load that does not count, before what does' -r
complete -c gatehouse -n "__fish_gatehouse_using_subcommand bench" -l timeout -d 'How long a request may take, from when it is sent' -r
complete -c gatehouse -n "__fish_gatehouse_using_subcommand bench" -l threads -d 'Threads; by default as many as the load needs and there are cores' -r
complete -c gatehouse -n "__fish_gatehouse_using_subcommand bench" -l method -d 'The method; GET, or POST where there is a body' -r
complete -c gatehouse -n "__fish_gatehouse_using_subcommand bench" -s H -l header -d 'A field of every request; may be given several times' -r
complete -c gatehouse -n "__fish_gatehouse_using_subcommand bench" -l body -d 'A file that is the body of every request' -r -F
complete -c gatehouse -n "__fish_gatehouse_using_subcommand bench" -l body-size -d 'A body of so many bytes, such as 64KiB' -r
complete -c gatehouse -n "__fish_gatehouse_using_subcommand bench" -l cacert -d 'Believe who has a certificate that these, in PEM, have signed, instead of the system\'s' -r -F
complete -c gatehouse -n "__fish_gatehouse_using_subcommand bench" -l against -d 'Measure this URL too, in turn with the first; may be given several times' -r
complete -c gatehouse -n "__fish_gatehouse_using_subcommand bench" -l rounds -d 'In how many rounds the targets take turns; 5 without it' -r
complete -c gatehouse -n "__fish_gatehouse_using_subcommand bench" -l plot -d 'Draw latency and rate into this file' -r -F
complete -c gatehouse -n "__fish_gatehouse_using_subcommand bench" -s k -l insecure -d 'Believe whoever answers'
complete -c gatehouse -n "__fish_gatehouse_using_subcommand bench" -l json -d 'Print JSON to standard output'
complete -c gatehouse -n "__fish_gatehouse_using_subcommand bench" -l h2 -d 'HTTP/2: not in this version'
complete -c gatehouse -n "__fish_gatehouse_using_subcommand bench" -l h3 -d 'HTTP/3: not in this version'
complete -c gatehouse -n "__fish_gatehouse_using_subcommand bench" -s h -l help -d 'Print help'
complete -c gatehouse -n "__fish_gatehouse_using_subcommand demo" -l tls -d 'Speak https, with a certificate made on the fly'
complete -c gatehouse -n "__fish_gatehouse_using_subcommand demo" -s h -l help -d 'Print help'
complete -c gatehouse -n "__fish_gatehouse_using_subcommand proxy" -l listen -d 'Where to listen: :PORT, IP:PORT or unix:PATH; may be given several times' -r
complete -c gatehouse -n "__fish_gatehouse_using_subcommand proxy" -l tls-cert -d 'A certificate in PEM, for TLS on all of them' -r
complete -c gatehouse -n "__fish_gatehouse_using_subcommand proxy" -l tls-key -d 'Its private key in PEM' -r
complete -c gatehouse -n "__fish_gatehouse_using_subcommand proxy" -l to -d 'An endpoint: HOST:PORT, http://HOST:PORT/base, the same with https, or unix:PATH; may be given several times' -r
complete -c gatehouse -n "__fish_gatehouse_using_subcommand proxy" -l balance -d 'How an endpoint is chosen, such as least-request' -r
complete -c gatehouse -n "__fish_gatehouse_using_subcommand proxy" -l admin -d 'Where the admin interface listens: a loopback address' -r
complete -c gatehouse -n "__fish_gatehouse_using_subcommand proxy" -l workers -d 'Threads that serve; one per core without it' -r
complete -c gatehouse -n "__fish_gatehouse_using_subcommand proxy" -l print-config -d 'Write the equivalent configuration to standard output and end'
complete -c gatehouse -n "__fish_gatehouse_using_subcommand proxy" -s h -l help -d 'Print help'
complete -c gatehouse -n "__fish_gatehouse_using_subcommand run" -s c -l config -d 'The configuration file' -r -F
complete -c gatehouse -n "__fish_gatehouse_using_subcommand run" -l pid-file -d 'Write the process\'s id into this file once it serves; a new process that takes over (SIGUSR2) writes its own' -r -F
complete -c gatehouse -n "__fish_gatehouse_using_subcommand run" -l watch -d 'Reload whenever the configuration changes, included files too'
complete -c gatehouse -n "__fish_gatehouse_using_subcommand run" -s h -l help -d 'Print help'
complete -c gatehouse -n "__fish_gatehouse_using_subcommand check" -s c -l config -d 'The configuration file' -r -F
complete -c gatehouse -n "__fish_gatehouse_using_subcommand check" -l json -d 'Print JSON to standard output'
complete -c gatehouse -n "__fish_gatehouse_using_subcommand check" -s h -l help -d 'Print help'
complete -c gatehouse -n "__fish_gatehouse_using_subcommand fmt" -l check -d 'Write nothing; name the files that would change and end with 1 where there are any'
complete -c gatehouse -n "__fish_gatehouse_using_subcommand fmt" -s h -l help -d 'Print help'
complete -c gatehouse -n "__fish_gatehouse_using_subcommand schema" -s h -l help -d 'Print help'
complete -c gatehouse -n "__fish_gatehouse_using_subcommand explain" -s c -l config -d 'The configuration file' -r -F
complete -c gatehouse -n "__fish_gatehouse_using_subcommand explain" -s H -l header -d 'A field of the request; may be given several times' -r
complete -c gatehouse -n "__fish_gatehouse_using_subcommand explain" -l client -d 'Where the request comes from' -r
complete -c gatehouse -n "__fish_gatehouse_using_subcommand explain" -l listener -d 'The listener it comes in by; by default the one whose port the URL has, else the first' -r
complete -c gatehouse -n "__fish_gatehouse_using_subcommand explain" -l all -d 'List all routes, also where there are very many'
complete -c gatehouse -n "__fish_gatehouse_using_subcommand explain" -l json -d 'Print JSON to standard output'
complete -c gatehouse -n "__fish_gatehouse_using_subcommand explain" -s h -l help -d 'Print help'
complete -c gatehouse -n "__fish_gatehouse_using_subcommand test" -s c -l config -d 'The configuration file' -r -F
complete -c gatehouse -n "__fish_gatehouse_using_subcommand test" -s h -l help -d 'Print help'
complete -c gatehouse -n "__fish_gatehouse_using_subcommand health" -l admin -d 'Where its admin interface listens, in place of what the configuration says' -r
complete -c gatehouse -n "__fish_gatehouse_using_subcommand health" -s c -l config -d 'The configuration file' -r -F
complete -c gatehouse -n "__fish_gatehouse_using_subcommand health" -s h -l help -d 'Print help'
complete -c gatehouse -n "__fish_gatehouse_using_subcommand status" -l admin -d 'Where its admin interface listens, in place of what the configuration says' -r
complete -c gatehouse -n "__fish_gatehouse_using_subcommand status" -s c -l config -d 'The configuration file' -r -F
complete -c gatehouse -n "__fish_gatehouse_using_subcommand status" -s h -l help -d 'Print help'
complete -c gatehouse -n "__fish_gatehouse_using_subcommand reload" -l admin -d 'Where its admin interface listens, in place of what the configuration says' -r
complete -c gatehouse -n "__fish_gatehouse_using_subcommand reload" -s c -l config -d 'The configuration file' -r -F
complete -c gatehouse -n "__fish_gatehouse_using_subcommand reload" -l json -d 'Print JSON to standard output'
complete -c gatehouse -n "__fish_gatehouse_using_subcommand reload" -s h -l help -d 'Print help'
complete -c gatehouse -n "__fish_gatehouse_using_subcommand diff" -l admin -d 'Where its admin interface listens, in place of what the configuration says' -r
complete -c gatehouse -n "__fish_gatehouse_using_subcommand diff" -s c -l config -d 'The configuration file' -r -F
complete -c gatehouse -n "__fish_gatehouse_using_subcommand diff" -l json -d 'Print JSON to standard output'
complete -c gatehouse -n "__fish_gatehouse_using_subcommand diff" -s h -l help -d 'Print help'
complete -c gatehouse -n "__fish_gatehouse_using_subcommand apply" -l admin -d 'Where its admin interface listens, in place of what the configuration says' -r
complete -c gatehouse -n "__fish_gatehouse_using_subcommand apply" -s c -l config -d 'The configuration file' -r -F
complete -c gatehouse -n "__fish_gatehouse_using_subcommand apply" -l confirm -d 'Take it back after so long, 1s to 1h, unless it is confirmed' -r
complete -c gatehouse -n "__fish_gatehouse_using_subcommand apply" -l json -d 'Print JSON to standard output'
complete -c gatehouse -n "__fish_gatehouse_using_subcommand apply" -s h -l help -d 'Print help'
complete -c gatehouse -n "__fish_gatehouse_using_subcommand confirm" -l admin -d 'Where its admin interface listens, in place of what the configuration says' -r
complete -c gatehouse -n "__fish_gatehouse_using_subcommand confirm" -s c -l config -d 'The configuration file' -r -F
complete -c gatehouse -n "__fish_gatehouse_using_subcommand confirm" -s h -l help -d 'Print help'
complete -c gatehouse -n "__fish_gatehouse_using_subcommand push" -l version -d 'Only if this version stands there; without it, the one that does' -r
complete -c gatehouse -n "__fish_gatehouse_using_subcommand push" -s h -l help -d 'Print help'
complete -c gatehouse -n "__fish_gatehouse_using_subcommand registry; and not __fish_seen_subcommand_from ls get set watch register" -s h -l help -d 'Print help'
complete -c gatehouse -n "__fish_gatehouse_using_subcommand registry; and not __fish_seen_subcommand_from ls get set watch register" -f -a "ls" -d 'List the children of a node'
complete -c gatehouse -n "__fish_gatehouse_using_subcommand registry; and not __fish_seen_subcommand_from ls get set watch register" -f -a "get" -d 'Print what a node holds'
complete -c gatehouse -n "__fish_gatehouse_using_subcommand registry; and not __fish_seen_subcommand_from ls get set watch register" -f -a "set" -d 'Write a node, and make it where it is not there'
complete -c gatehouse -n "__fish_gatehouse_using_subcommand registry; and not __fish_seen_subcommand_from ls get set watch register" -f -a "watch" -d 'Print what happens to a node and its children, until Ctrl-C'
complete -c gatehouse -n "__fish_gatehouse_using_subcommand registry; and not __fish_seen_subcommand_from ls get set watch register" -f -a "register" -d 'Announce an address beneath a node, until Ctrl-C'
complete -c gatehouse -n "__fish_gatehouse_using_subcommand registry; and __fish_seen_subcommand_from ls" -s l -l long -d 'Also version, bytes, children, and the session it ends with'
complete -c gatehouse -n "__fish_gatehouse_using_subcommand registry; and __fish_seen_subcommand_from ls" -s h -l help -d 'Print help'
complete -c gatehouse -n "__fish_gatehouse_using_subcommand registry; and __fish_seen_subcommand_from get" -s h -l help -d 'Print help'
complete -c gatehouse -n "__fish_gatehouse_using_subcommand registry; and __fish_seen_subcommand_from set" -l version -d 'Only if it has this version' -r
complete -c gatehouse -n "__fish_gatehouse_using_subcommand registry; and __fish_seen_subcommand_from set" -s h -l help -d 'Print help'
complete -c gatehouse -n "__fish_gatehouse_using_subcommand registry; and __fish_seen_subcommand_from watch" -l lines -d 'End after so many lines' -r
complete -c gatehouse -n "__fish_gatehouse_using_subcommand registry; and __fish_seen_subcommand_from watch" -s h -l help -d 'Print help'
complete -c gatehouse -n "__fish_gatehouse_using_subcommand registry; and __fish_seen_subcommand_from register" -l weight -d 'Its share of the load' -r
complete -c gatehouse -n "__fish_gatehouse_using_subcommand registry; and __fish_seen_subcommand_from register" -l zone -d 'Where it stands' -r
complete -c gatehouse -n "__fish_gatehouse_using_subcommand registry; and __fish_seen_subcommand_from register" -s h -l help -d 'Print help'
complete -c gatehouse -n "__fish_gatehouse_using_subcommand drain" -l admin -d 'Where its admin interface listens, in place of what the configuration says' -r
complete -c gatehouse -n "__fish_gatehouse_using_subcommand drain" -s c -l config -d 'The configuration file' -r -F
complete -c gatehouse -n "__fish_gatehouse_using_subcommand drain" -l watch -d 'Wait until it is empty'
complete -c gatehouse -n "__fish_gatehouse_using_subcommand drain" -s h -l help -d 'Print help'
complete -c gatehouse -n "__fish_gatehouse_using_subcommand discovery; and not __fish_seen_subcommand_from accept" -s h -l help -d 'Print help'
complete -c gatehouse -n "__fish_gatehouse_using_subcommand discovery; and not __fish_seen_subcommand_from accept" -f -a "accept" -d 'Take a set that is held back because it is so small: the others are really gone'
complete -c gatehouse -n "__fish_gatehouse_using_subcommand discovery; and __fish_seen_subcommand_from accept" -l admin -d 'Where its admin interface listens, in place of what the configuration says' -r
complete -c gatehouse -n "__fish_gatehouse_using_subcommand discovery; and __fish_seen_subcommand_from accept" -s c -l config -d 'The configuration file' -r -F
complete -c gatehouse -n "__fish_gatehouse_using_subcommand discovery; and __fish_seen_subcommand_from accept" -s h -l help -d 'Print help'
complete -c gatehouse -n "__fish_gatehouse_using_subcommand undrain" -l admin -d 'Where its admin interface listens, in place of what the configuration says' -r
complete -c gatehouse -n "__fish_gatehouse_using_subcommand undrain" -s c -l config -d 'The configuration file' -r -F
complete -c gatehouse -n "__fish_gatehouse_using_subcommand undrain" -s h -l help -d 'Print help'
