# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_herd_global_optspecs
    string join \n h/help V/version
end

function __fish_herd_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_herd_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_herd_using_subcommand
    set -l cmd (__fish_herd_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c herd -n "__fish_herd_needs_command" -s h -l help -d 'Print help'
complete -c herd -n "__fish_herd_needs_command" -s V -l version -d 'Print version'
complete -c herd -n "__fish_herd_needs_command" -f -a "serve" -d 'Run one server of the herd, in the foreground'
complete -c herd -n "__fish_herd_needs_command" -f -a "status" -d 'Ask all servers of the topology how they are, and show it as a table'
complete -c herd -n "__fish_herd_needs_command" -f -a "erase" -d 'Erase a client: have all servers forget it, until it reports anew'
complete -c herd -n "__fish_herd_needs_command" -f -a "restore" -d 'Make the journal of a server from text logs, when its own is lost and no neighbour has the locations'
complete -c herd -n "__fish_herd_needs_command" -f -a "keygen" -d 'Make a key for a server, by which its neighbours know it, and print the key= for its topology line'
complete -c herd -n "__fish_herd_needs_command" -f -a "check" -d 'Check a topology and keys. If something is wrong, say what, with exit status 2'
complete -c herd -n "__fish_herd_needs_command" -f -a "twitter" -d 'Run the stand-in for Twitter, with synthetic tweets: the searches of its APIs 1.0, 1.1 and 2'
complete -c herd -n "__fish_herd_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c herd -n "__fish_herd_using_subcommand serve" -l topology -d 'The file that says who is in the herd and who talks with whom' -r -F
complete -c herd -n "__fish_herd_using_subcommand serve" -l data-dir -d 'Where the journal is, in a folder NAME: all that a restart knows' -r -F
complete -c herd -n "__fish_herd_using_subcommand serve" -l fsync -d 'When the journal is synced, to survive a power failure: before each reply (always), each second, or when the system thinks fit (never)' -r -f -a "always\t''
second\t''
never\t''"
complete -c herd -n "__fish_herd_using_subcommand serve" -l log-dir -d 'Where the log goes, as NAME.log: text, for people' -r -F
complete -c herd -n "__fish_herd_using_subcommand serve" -l log -d 'What goes into the log: every line (all), all but the lines of clients (links), or nothing (off)' -r -f -a "all\t''
links\t''
off\t''"
complete -c herd -n "__fish_herd_using_subcommand serve" -l log-max-bytes -d 'Rotate the log before it is longer than this. K, M or G at the end means KiB, MiB or GiB' -r
complete -c herd -n "__fish_herd_using_subcommand serve" -l log-keep -d 'How many rotated logs to keep: NAME.log.1 is the newest' -r
complete -c herd -n "__fish_herd_using_subcommand serve" -l max-connections -d 'The most clients to serve at once. Further ones are told so and closed [default: as many as the limit of open files allows]' -r
complete -c herd -n "__fish_herd_using_subcommand serve" -l max-table-bytes -d 'The most memory for clients\' locations, such as 512M or 2G. When it is full, the server forgets those that have not changed for longest [default: half of the memory of the machine, or of its control group]' -r
complete -c herd -n "__fish_herd_using_subcommand serve" -l idle-timeout -d 'Close clients that say nothing for longer than this, such as 90s, 5m, 2h or 7d [default: never]' -r
complete -c herd -n "__fish_herd_using_subcommand serve" -l line-timeout -d 'Close clients that take longer than this to send a line, from its first byte to its end' -r
complete -c herd -n "__fish_herd_using_subcommand serve" -l drain -d 'How long a stop may take to send the replies under way, and the neighbours everything' -r
complete -c herd -n "__fish_herd_using_subcommand serve" -l forget-after -d 'Forget a location when its time, or that of its receipt if earlier, is longer ago than this. Give all servers the same [default: never]' -r
complete -c herd -n "__fish_herd_using_subcommand serve" -l http-tokens -d 'Serve HTTP only to those who show a token of this file, which has a line NAME TOKEN for each and the mode 0600. Health needs no token. Without this option http= in the topology must be a loopback address' -r -F
complete -c herd -n "__fish_herd_using_subcommand serve" -l clock-skew -d 'How far clocks may differ. The server refuses a neighbour\'s report that is further ahead of its clock. If its clock is further from those of most neighbours, it is not ready, and refuses none' -r
complete -c herd -n "__fish_herd_using_subcommand serve" -l key -d 'The server\'s private key, as herd keygen makes it: its links are encrypted. Neighbours know it by the key= in its line of the topology' -r -F
complete -c herd -n "__fish_herd_using_subcommand serve" -l tls-cert -d 'The certificate that clients are shown, or a chain of them, in PEM. HTTP becomes HTTPS, and the server\'s line may have tls=, for clients of lines over TLS' -r -F
complete -c herd -n "__fish_herd_using_subcommand serve" -l tls-key -d 'The private key of that certificate, in PEM. Its owner alone may read the file' -r -F
complete -c herd -n "__fish_herd_using_subcommand serve" -l twitter-url -d 'Twitter\'s search address, to which the query is added. Default: the stand-in\'s, http://127.0.0.1:12599/search.json for API 1.0' -r
complete -c herd -n "__fish_herd_using_subcommand serve" -l twitter-api -d 'Which of Twitter\'s APIs is spoken there. 1.1 and 2 want credentials: TWITTER_BEARER_TOKEN, or TWITTER_KEY and TWITTER_SECRET, in the environment or in a file' -r -f -a "1.0\t''
1.1\t''
2\t''"
complete -c herd -n "__fish_herd_using_subcommand serve" -l twitter-credentials -d 'A file of such credentials, NAME=VALUE on each line. Its owner alone may read it' -r -F
complete -c herd -n "__fish_herd_using_subcommand serve" -l twitter-cache -d 'For how many seconds an answer of Twitter serves others who ask the same, up to a day. 0: not at all' -r
complete -c herd -n "__fish_herd_using_subcommand serve" -l allow-no-journal -d 'Start even if the journal cannot be written. The server tries again each second'
complete -c herd -n "__fish_herd_using_subcommand serve" -l trust-clock -d 'Trust this server\'s clock whatever its neighbours\' clocks show. For a server without neighbours, or whose neighbours have wrong clocks'
complete -c herd -n "__fish_herd_using_subcommand serve" -l allow-plain-links -d 'Allow links without encryption where one side has no key yet. For the hour in which you introduce keys'
complete -c herd -n "__fish_herd_using_subcommand serve" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c herd -n "__fish_herd_using_subcommand status" -l topology -d 'The file that says who is in the herd, and where each serves HTTP' -r -F
complete -c herd -n "__fish_herd_using_subcommand status" -l http-tokens -d 'The file of tokens that the servers were started with. They are shown its first token' -r -F
complete -c herd -n "__fish_herd_using_subcommand status" -l ca -d 'Ask by HTTPS. The file has the servers\' certificate, or that of its issuer, in PEM' -r -F
complete -c herd -n "__fish_herd_using_subcommand status" -l watch -d 'Show it again every 2 seconds, on the whole screen'
complete -c herd -n "__fish_herd_using_subcommand status" -l json -d 'Write JSON, as GET /v1/herd answers'
complete -c herd -n "__fish_herd_using_subcommand status" -l links -d 'List the links instead, for scripts. A line has two servers and the state of their link: up, down, refused, or unknown if neither can be asked'
complete -c herd -n "__fish_herd_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c herd -n "__fish_herd_using_subcommand erase" -l topology -d 'The file that says who is in the herd, and where each serves HTTP' -r -F
complete -c herd -n "__fish_herd_using_subcommand erase" -l http-tokens -d 'The file of tokens that the servers were started with. They are shown its first token' -r -F
complete -c herd -n "__fish_herd_using_subcommand erase" -l ca -d 'Ask by HTTPS. The file has the servers\' certificate, or that of its issuer, in PEM' -r -F
complete -c herd -n "__fish_herd_using_subcommand erase" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c herd -n "__fish_herd_using_subcommand restore" -l name -d 'Whose journal to make' -r
complete -c herd -n "__fish_herd_using_subcommand restore" -l data-dir -d 'The data directory. The journal goes to its folder NAME, which must be empty or not there' -r -F
complete -c herd -n "__fish_herd_using_subcommand restore" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c herd -n "__fish_herd_using_subcommand keygen" -l out -d 'Where the private key goes: a new file, that its owner alone can read. With --topology: a folder, for each server\'s NAME.key and for topology.txt' -r -F
complete -c herd -n "__fish_herd_using_subcommand keygen" -l topology -d 'Make keys for all servers of this topology. Keys that are in the folder stay. Its topology.txt is written anew: it says what this file says, with those keys in the place of any others' -r -F
complete -c herd -n "__fish_herd_using_subcommand keygen" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c herd -n "__fish_herd_using_subcommand check" -l topology -d 'The file that says who is in the herd and who talks with whom' -r -F
complete -c herd -n "__fish_herd_using_subcommand check" -l key -d 'A server\'s private key. May be given more than once' -r -F
complete -c herd -n "__fish_herd_using_subcommand check" -l list -d 'List the servers of the file, for scripts. A line is that of a topology: name, client address, server address, attributes (http= first), and all neighbours'
complete -c herd -n "__fish_herd_using_subcommand check" -s h -l help -d 'Print help'
complete -c herd -n "__fish_herd_using_subcommand twitter" -l listen -d 'Where to listen' -r
complete -c herd -n "__fish_herd_using_subcommand twitter" -l tweets -d 'Tweets of your own, a line of JSON each, with text and latitude and longitude, or as Twitter gives them. Lines without text or position are skipped, and standard error says how many' -r -F
complete -c herd -n "__fish_herd_using_subcommand twitter" -l fault -d 'What goes wrong with every answer: delay=SECONDS, status=CODE, limit=COUNT/SECONDS, reset, garbage, truncated, huge, drip=SECONDS. May be given more than once' -r
complete -c herd -n "__fish_herd_using_subcommand twitter" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c herd -n "__fish_herd_using_subcommand help; and not __fish_seen_subcommand_from serve status erase restore keygen check twitter help" -f -a "serve" -d 'Run one server of the herd, in the foreground'
complete -c herd -n "__fish_herd_using_subcommand help; and not __fish_seen_subcommand_from serve status erase restore keygen check twitter help" -f -a "status" -d 'Ask all servers of the topology how they are, and show it as a table'
complete -c herd -n "__fish_herd_using_subcommand help; and not __fish_seen_subcommand_from serve status erase restore keygen check twitter help" -f -a "erase" -d 'Erase a client: have all servers forget it, until it reports anew'
complete -c herd -n "__fish_herd_using_subcommand help; and not __fish_seen_subcommand_from serve status erase restore keygen check twitter help" -f -a "restore" -d 'Make the journal of a server from text logs, when its own is lost and no neighbour has the locations'
complete -c herd -n "__fish_herd_using_subcommand help; and not __fish_seen_subcommand_from serve status erase restore keygen check twitter help" -f -a "keygen" -d 'Make a key for a server, by which its neighbours know it, and print the key= for its topology line'
complete -c herd -n "__fish_herd_using_subcommand help; and not __fish_seen_subcommand_from serve status erase restore keygen check twitter help" -f -a "check" -d 'Check a topology and keys. If something is wrong, say what, with exit status 2'
complete -c herd -n "__fish_herd_using_subcommand help; and not __fish_seen_subcommand_from serve status erase restore keygen check twitter help" -f -a "twitter" -d 'Run the stand-in for Twitter, with synthetic tweets: the searches of its APIs 1.0, 1.1 and 2'
complete -c herd -n "__fish_herd_using_subcommand help; and not __fish_seen_subcommand_from serve status erase restore keygen check twitter help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
