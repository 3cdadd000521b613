#compdef queuectl
# Completion of queuectl for zsh: eval "$(queuectl completion zsh)" after compinit, or a file _queuectl in $fpath.

_queuectl() {
    local program=${(Q)words[1]} row described=yes
    local -a before fields values
    program=${program/#\~\//$HOME/}
    whence -p -- $program >/dev/null || program=queuectl # it is an alias of something

    # What the line sets for the command holds for us, too.
    local -a given=("${(@M)${(@z)BUFFER}:#QUEUECTL_DB_PATH=*}")
    if ((${#given})); then
        local -x QUEUECTL_DB_PATH=${(Q)given[-1]#*=}
        QUEUECTL_DB_PATH=${QUEUECTL_DB_PATH/#\~\//$HOME/}
    fi

    before=("${(@Q)words[2,CURRENT-1]}")
    for row in "${(@f)$($program __complete zsh "${before[@]}" "${(Q)PREFIX}" 2>/dev/null </dev/null)}"; do
        fields=("${(@ps:\t:)row}")
        case $fields[1] in
            plain)
                values+=("${fields[2]//:/\\:}${fields[3]:+:${fields[3]//\\/\\\\}}")
                ;;
            file)
                [[ $PREFIX == --*=* ]] && compset -P 1 '*='
                _files
                return
                ;;
            dir)
                [[ $PREFIX == --*=* ]] && compset -P 1 '*='
                _path_files -/
                return
                ;;
            command)
                shift $((CURRENT - 1 - fields[2])) words
                CURRENT=$((fields[2] + 1))
                _normal
                return
                ;;
        esac
    done
    ((${#values})) || return 1
    [[ $PREFIX == --*=* ]] && compset -P 1 '*='
    _describe -V -t queuectl queuectl values
}

if [[ ${zsh_eval_context[-1]} == loadautofunc ]]; then
    _queuectl "$@"
else
    (($+functions[compdef])) || { autoload -Uz compinit && compinit }
    compdef _queuectl queuectl
fi
