# Completion of queuectl for fish 3 and newer: queuectl completion fish > ~/.config/fish/completions/queuectl.fish

function __queuectl_complete
    set -l words (commandline -opc)
    set -l token (string trim --left --chars "\"'" -- (commandline -ct))
    set -l program (string replace --regex '^~/' $HOME/ -- $words[1])
    set -e words[1]
    type -fq -- $program; or set program queuectl # it is an alias of something
    set -l option (string match --regex '^--[^=]+=' -- $token)

    for row in (command $program __complete fish $words "$token" 2>/dev/null </dev/null)
        set -l fields (string split \t -- $row)
        switch $fields[1]
            case plain
                printf '%s%s\t%s\n' "$option" $fields[2] $fields[3]
            case file
                for path in (__fish_complete_path (string replace -- "$option" '' $token))
                    printf '%s%s\n' "$option" $path
                end
            case dir
                for path in (__fish_complete_directories (string replace -- "$option" '' $token))
                    printf '%s%s\n' "$option" $path
                end
            case command
                set -l first (math (count $words) - $fields[2] + 1)
                complete --do-complete (string join ' ' -- (string escape -- $words[$first..-1] "$token"))
        end
    end
end

complete --command queuectl --no-files --keep-order --arguments '(__queuectl_complete)'
