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
complete -c herd -n "__fish_herd_needs_command" -f -a "check" -d 'Say what is wrong with a topology and with keys, if anything is; exit status 2 then'
complete -c herd -n "__fish_herd_needs_command" -f -a "twitter" -d 'Run the stand-in for Twitter, with synthetic tweets: the searches of its APIs 1.0, 1.1 and 2'
complete -c herd -n "__fish_herd_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c herd -n "__fish_herd_using_subcommand serve" -l topology -d 'The file that says who is in the herd and who talks with whom' -r -F
complete -c herd -n "__fish_herd_using_subcommand serve" -l data-dir -d 'Where the journal is, in a folder NAME: the memory, which a restart reads' -r -F
complete -c herd -n "__fish_herd_using_subcommand serve" -l fsync -d 'When the journal is made to survive a power failure: before each reply, within a second, or when the system thinks fit' -r -f -a "always\t''
second\t''
never\t''"
complete -c herd -n "__fish_herd_using_subcommand serve" -l log-dir -d 'Where the log goes, as NAME.log: text, for people' -r -F
complete -c herd -n "__fish_herd_using_subcommand serve" -l log -d 'What goes into the log: every line, all but the lines of clients, or nothing' -r -f -a "all\t''
links\t''
off\t''"
complete -c herd -n "__fish_herd_using_subcommand serve" -l log-max-bytes -d 'Rotate the log before it is longer than this: with K, M or G at the end, times 1024, 1024² or 1024³' -r
complete -c herd -n "__fish_herd_using_subcommand serve" -l log-keep -d 'How many rotated logs to keep: NAME.log.1 is the newest' -r
complete -c herd -n "__fish_herd_using_subcommand serve" -l max-connections -d 'The most clients to serve at once; others are told so and closed [default: as many as the limit of open files allows]' -r
complete -c herd -n "__fish_herd_using_subcommand serve" -l max-table-bytes -d 'The most memory for clients\' locations. Beyond it the location that has not changed for longest makes room, and is unknown [default: half of the memory of the machine, or of its control group]' -r
complete -c herd -n "__fish_herd_using_subcommand serve" -l idle-timeout -d 'Close clients that are silent for longer, as 90s, 5m, 2h or 7d [default: never]' -r
complete -c herd -n "__fish_herd_using_subcommand serve" -l line-timeout -d 'Close clients of which a line takes longer from its first byte to its end' -r
complete -c herd -n "__fish_herd_using_subcommand serve" -l drain -d 'A stop may take this long until replies under way have left and neighbours have been sent everything' -r
complete -c herd -n "__fish_herd_using_subcommand serve" -l forget-after -d 'Forget a location when its time, or that of its receipt if earlier, is longer ago. Give it to all servers [default: never]' -r
complete -c herd -n "__fish_herd_using_subcommand serve" -l http-tokens -d 'Serve HTTP, all but health, only to who shows a token of this file: a line NAME TOKEN each, mode 0600. Without it http= in the topology must be a loopback address' -r -F
complete -c herd -n "__fish_herd_using_subcommand serve" -l clock-skew -d 'How far this server\'s clock may be from its neighbours\', and a neighbour\'s report ahead of it. A report that is further ahead is refused; a server that is further off than half of its neighbours is not ready, and refuses nothing' -r
complete -c herd -n "__fish_herd_using_subcommand serve" -l key -d 'The private key by which neighbours know this server, as herd keygen makes it. Its key= stands in the server\'s line of the topology. Links are then encrypted' -r -F
complete -c herd -n "__fish_herd_using_subcommand serve" -l tls-cert -d 'The certificate that clients are shown, or a chain of them, in PEM: for the tls= of the server\'s line, and for HTTP, which becomes HTTPS' -r -F
complete -c herd -n "__fish_herd_using_subcommand serve" -l tls-key -d 'The private key of that certificate, in PEM, that nobody else can read' -r -F
complete -c herd -n "__fish_herd_using_subcommand serve" -l twitter-url -d 'Twitter\'s search address, to which the query is added. Default: the stand-in\'s, http://127.0.0.1:12599/search.json for API 1.0' -r
complete -c herd -n "__fish_herd_using_subcommand serve" -l twitter-api -d 'Which of Twitter\'s APIs is spoken there. 1.1 and 2 want credentials: TWITTER_BEARER_TOKEN, or TWITTER_KEY and TWITTER_SECRET, in the environment or in a file' -r -f -a "1.0\t''
1.1\t''
2\t''"
complete -c herd -n "__fish_herd_using_subcommand serve" -l twitter-credentials -d 'A file of such credentials, NAME=VALUE on each line, that nobody else can read' -r -F
complete -c herd -n "__fish_herd_using_subcommand serve" -l twitter-cache -d 'For how many seconds an answer serves others who ask the same, up to a day; 0: not at all' -r
complete -c herd -n "__fish_herd_using_subcommand serve" -l allow-no-journal -d 'Start though the journal cannot be written; it is tried again each second'
complete -c herd -n "__fish_herd_using_subcommand serve" -l trust-clock -d 'Trust this server\'s clock whatever its neighbours\' show: for one that has nobody to ask, or of whose neighbours half are wrong'
complete -c herd -n "__fish_herd_using_subcommand serve" -l allow-plain-links -d 'Link with neighbours without encryption where one side has no key yet: for the hour of changing over'
complete -c herd -n "__fish_herd_using_subcommand serve" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c herd -n "__fish_herd_using_subcommand status" -l topology -d 'The file that says who is in the herd, and where each serves HTTP' -r -F
complete -c herd -n "__fish_herd_using_subcommand status" -l http-tokens -d 'Show the servers the first token of this file: the one that they were started with' -r -F
complete -c herd -n "__fish_herd_using_subcommand status" -l ca -d 'Ask by HTTPS. The file has the servers\' certificate, or that of whoever issued it (PEM)' -r -F
complete -c herd -n "__fish_herd_using_subcommand status" -l watch -d 'Show it again every 2 seconds, on the whole screen'
complete -c herd -n "__fish_herd_using_subcommand status" -l json -d 'Write JSON, as GET /v1/herd has it'
complete -c herd -n "__fish_herd_using_subcommand status" -l links -d 'List the links instead, for scripts. A line has the two servers and the state: up if no end denies it, down, refused, or unknown if neither end can be asked'
complete -c herd -n "__fish_herd_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c herd -n "__fish_herd_using_subcommand erase" -l topology -d 'The file that says who is in the herd, and where each serves HTTP' -r -F
complete -c herd -n "__fish_herd_using_subcommand erase" -l http-tokens -d 'Show the servers the first token of this file: the one that they were started with' -r -F
complete -c herd -n "__fish_herd_using_subcommand erase" -l ca -d 'Ask by HTTPS. The file has the servers\' certificate, or that of whoever issued it (PEM)' -r -F
complete -c herd -n "__fish_herd_using_subcommand erase" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c herd -n "__fish_herd_using_subcommand restore" -l name -d 'Whose journal to make' -r
complete -c herd -n "__fish_herd_using_subcommand restore" -l data-dir -d 'Where the journal goes, to a folder NAME, which must be empty or not there' -r -F
complete -c herd -n "__fish_herd_using_subcommand restore" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c herd -n "__fish_herd_using_subcommand keygen" -l out -d 'Where the private key goes: a new file, that its owner alone can read. With --topology: a folder, for each server\'s NAME.key and for topology.txt' -r -F
complete -c herd -n "__fish_herd_using_subcommand keygen" -l topology -d 'Make keys for all servers of this topology. Keys that are in the folder stay. Its topology.txt is written anew: it says what this file says, with those keys in the place of any others' -r -F
complete -c herd -n "__fish_herd_using_subcommand keygen" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c herd -n "__fish_herd_using_subcommand check" -l topology -d 'The file that says who is in the herd and who talks with whom' -r -F
complete -c herd -n "__fish_herd_using_subcommand check" -l key -d 'A server\'s private key. May be given more than once' -r -F
complete -c herd -n "__fish_herd_using_subcommand check" -l list -d 'List the servers as the file has them, for scripts, if it can be read. A line is that of a topology: name, client address, server address, attributes (http= first), and the other end of each link'
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
complete -c herd -n "__fish_herd_using_subcommand help; and not __fish_seen_subcommand_from serve status erase restore keygen check twitter help" -f -a "check" -d 'Say what is wrong with a topology and with keys, if anything is; exit status 2 then'
complete -c herd -n "__fish_herd_using_subcommand help; and not __fish_seen_subcommand_from serve status erase restore keygen check twitter help" -f -a "twitter" -d 'Run the stand-in for Twitter, with synthetic tweets: the searches of its APIs 1.0, 1.1 and 2'
complete -c herd -n "__fish_herd_using_subcommand help; and not __fish_seen_subcommand_from serve status erase restore keygen check twitter help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
